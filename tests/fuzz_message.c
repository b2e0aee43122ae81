/* fuzz_message.c -- any bytes as what a socket brings: whole messages, or one line of reason; what
 * is said to be a finished point is one, within its message. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "study_talk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile double sink; /* what is read really is */

static void require(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void check_error(const Error *err) {
    require(err->text[0] && !strchr(err->text, '\n'), "not one line");
}

static void check_point(Message *message) {
    TalkPoint said;
    Message again = { 0 };
    Error err = { 0 };
    if (talk_take_point(message, &said, &err) != OK) {
        check_error(&err);
        return;
    }
    require(said.metrics.count <= METRICS_MOST, "more metrics than there are");
    require(strlen(said.point.key) < sizeof said.point.key, "a text without an end");
    require(point_status_name(said.point.status)[0], "no status");
    for (size_t i = 0; i < said.metrics.count; i++) {
        const Metric *m = &said.metrics.metric[i];
        require(metric_kind_name(m->kind)[0], "no kind");
        for (size_t s = 0; m->samples && s < m->sample_count; s++) sink = m->samples[s];
    }
    talk_put_point(&again, &said.point, &said.metrics);
    require(!again.failed && again.size <= message->size, "said again it is longer");
    message_free(&again);
}

/* The bytes come in pieces, as from a stream. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Inbox inbox = { 0 };
    Message message = { 0 };
    Error err = { 0 };
    bool found = false;
    size_t piece = size ? 1 + data[0] % 64 : 0;
    for (size_t at = 0; at < size; at += piece) {
        if (piece > size - at) piece = size - at;
        require(inbox_room(&inbox, piece, &err) == OK, "no room");
        memcpy(inbox.bytes + inbox.size, data + at, piece);
        inbox.size += piece;
        Status status;
        while ((status = inbox_take(&inbox, &message, &found, &err)) == OK && found)
            check_point(&message);
        if (status == OK) continue;
        check_error(&err);
        break;
    }
    inbox_free(&inbox);
    message_free(&message);
    return 0;
}
