/* test_message.c -- frames: what is put is what is taken, whole or not at all, whatever comes. */
#include "message.h"

#include <criterion/criterion.h>
#include <string.h>

static Error err;

/* Appends bytes to an inbox, as a socket would. */
static void receive(Inbox *inbox, const void *bytes, size_t size) {
    cr_assert_eq(inbox_room(inbox, size, &err), OK);
    memcpy(inbox->bytes + inbox->size, bytes, size);
    inbox->size += size;
}

Test(message, values_come_out_as_they_went_in_and_never_more) {
    Message m = { 0 };
    const double x = 1.0 / 3.0;
    const char text[] = "absorbed";
    char back[sizeof text];
    double y;
    message_start(&m, 7);
    message_put(&m, &x, sizeof x);
    message_put(&m, text, sizeof text);
    message_take(&m, &y, sizeof y);
    message_take(&m, back, sizeof back);
    cr_assert(y == x && strcmp(back, text) == 0 && !m.failed);
    message_take(&m, &y, 1);
    cr_assert(m.failed, "there is nothing left");
    cr_assert_null(message_view(&m, 1));
    message_start(&m, 8);
    cr_assert_not(m.failed);
    message_free(&m);
}

Test(message, frames_arrive_in_pieces_of_any_size) {
    char stream[256];
    size_t size = 0;
    for (uint32_t kind = 1; kind <= 5; kind++) {
        const uint32_t length = kind * 3 - 3;
        memcpy(stream + size, &length, 4);
        memcpy(stream + size + 4, &kind, 4);
        memset(stream + size + 8, (int)kind, length);
        size += 8 + length;
    }
    for (size_t piece = 1; piece < size; piece++) {
        Inbox inbox = { 0 };
        Message m = { 0 };
        uint32_t next = 1;
        for (size_t at = 0; at < size; at += piece) {
            receive(&inbox, stream + at, size - at < piece ? size - at : piece);
            for (bool found = true; found;) {
                cr_assert_eq(inbox_take(&inbox, &m, &found, &err), OK);
                if (!found) break;
                cr_assert_eq(m.kind, next);
                cr_assert_eq(m.size, next * 3 - 3);
                for (size_t i = 0; i < m.size; i++) cr_assert_eq(m.bytes[i], (char)next);
                next++;
            }
        }
        cr_assert_eq(next, 6);
        message_free(&m);
        inbox_free(&inbox);
    }
}

Test(message, a_frame_that_cannot_be_is_refused) {
    const uint32_t head[2] = { 0xffffffff, 1 };
    Inbox inbox = { 0 };
    Message m = { 0 };
    bool found;
    receive(&inbox, head, sizeof head);
    cr_assert_eq(inbox_take(&inbox, &m, &found, &err), ERR_MACHINE);
    cr_assert_not(found);
    inbox_free(&inbox);
    message_free(&m);
}
