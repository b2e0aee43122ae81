/* study_worker.c -- a worker process: runs the points that it is told to and says what came out. */
#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "blas.h"
#include "buffer.h"
#include "study_talk.h"

enum { READ_ROOM = 16 * 1024 };

/* A worker while it lives. */
typedef struct {
    Study study;
    int socket;
    Message in, out;
} Work;

/* ---- points in messages ---- */

void talk_put_point(Message *message, const Point *point, const MetricList *metrics) {
    message_start(message, TALK_POINT);
    message_put(message, point, sizeof *point);
    message_put(message, &metrics->count, sizeof metrics->count);
    message_put(message, metrics->metric, metrics->count * sizeof *metrics->metric);
    for (size_t i = 0; i < metrics->count; i++) {
        const Metric *m = &metrics->metric[i];
        if (m->samples) message_put(message, m->samples, m->sample_count * sizeof *m->samples);
    }
}

/* Samples lie at multiples of 8 in a message: everything before them has such a size. */
_Static_assert(sizeof(Point) % sizeof(double) == 0, "samples stay aligned");
_Static_assert(sizeof(Metric) % sizeof(double) == 0, "samples stay aligned");

/* Does a text end within its room? */
#define ENDS(text) (memchr((text), '\0', sizeof(text)) != NULL)

static bool is_point(const Point *p) {
    return ENDS(p->key) && ENDS(p->phase) && ENDS(p->contender) && ENDS(p->label) &&
           ENDS(p->attention) && ENDS(p->path) && ENDS(p->kv_dtype) && ENDS(p->layer) &&
           ENDS(p->message) && ENDS(p->host) && p->status <= POINT_LEFT_OUT;
}

static bool is_metric(const Metric *m) {
    return ENDS(m->name) && ENDS(m->unit) && m->kind <= KIND_MODELLED;
}

Status talk_take_point(Message *message, TalkPoint *out, Error *err) {
    *out = (TalkPoint){ 0 };
    message_take(message, &out->point, sizeof out->point);
    if (!is_point(&out->point)) message->failed = true;
    message_take(message, &out->metrics.count, sizeof out->metrics.count);
    if (out->metrics.count > METRICS_MOST) message->failed = true;
    if (!message->failed)
        message_take(message, out->metrics.metric,
                     out->metrics.count * sizeof *out->metrics.metric);
    for (size_t i = 0; !message->failed && i < out->metrics.count; i++) {
        Metric *m = &out->metrics.metric[i];
        if (!is_metric(m) || m->sample_count > MESSAGE_MOST)
            message->failed = true;
        else if (m->samples)
            m->samples = message_view(message, m->sample_count * sizeof *m->samples);
    }
    if (message->failed) return fail(err, ERR_MACHINE, "a worker said what is no point");
    return OK;
}

/* ---- the worker ---- */

static Status put_point(void *context, const Point *point, const MetricList *metrics, Error *err) {
    Work *work = context;
    talk_put_point(&work->out, point, metrics);
    return message_write(work->socket, &work->out, err);
}

static Status run_tasks(Work *work, Phase phase, size_t count, Task *tasks, Task **list,
                        Error *err) {
    const StudyPhase *row = &study_phases[phase];
    Study *study = &work->study;
    study->threads = row->timed ? study->alone_threads : study->shared_threads;
    omp_set_num_threads(study->threads); /* of every loop that is not told */
    if (blas_prepare(study->threads) != 0)
        return fail(err, ERR_MACHINE, "out of memory: workspace of the products");
    for (size_t i = 0; i < count; i++) {
        size_t index;
        message_take(&work->in, &index, sizeof index);
        TRY(study_plan(study, phase, index, &tasks[i], err));
        list[i] = &tasks[i];
    }
    if (row->timed) return row->run(study, count, list, err);
    for (size_t i = 0; i < count; i++) TRY(row->run(study, 1, &list[i], err));
    return OK;
}

/* The points of a message, each put as it is finished. */
static Status run_points(Work *work, Error *err) {
    Phase phase;
    size_t count;
    Task *tasks = NULL, **list = NULL;
    message_take(&work->in, &phase, sizeof phase);
    message_take(&work->in, &work->study.peaks, sizeof work->study.peaks);
    message_take(&work->in, &work->study.memory_bytes, sizeof work->study.memory_bytes);
    message_take(&work->in, &count, sizeof count);
    Status status = BUFFER(&tasks, count, "points", err);
    if (status == OK) status = BUFFER(&list, count, "points", err);
    if (status == OK) status = run_tasks(work, phase, count, tasks, list, err);
    buffer_free(tasks);
    buffer_free(list);
    return status;
}

static Status measure_peaks(Work *work, Error *err) {
    static const double seconds = 1.5;
    Study *study = &work->study;
    const size_t llc = study->machine.llc_bytes;
    unsigned char *scratch = NULL;
    study->threads = study->alone_threads;
    TRY(BUFFER(&scratch, peaks_scratch_bytes(llc), "bandwidth scratch", err));
    study->peaks = peaks_measure(study->tiers, study->threads, llc, seconds, scratch);
    buffer_free(scratch);
    return OK;
}

static void answer(Work *work) {
    Error err = { 0 };
    const bool peaks = work->in.kind == TALK_PEAKS;
    const Status status = peaks ? measure_peaks(work, &err) : run_points(work, &err);
    message_start(&work->out, status != OK ? TALK_TROUBLE : peaks ? TALK_PEAKS : TALK_DONE);
    if (status != OK)
        message_put(&work->out, &err, sizeof err);
    else if (peaks)
        message_put(&work->out, &work->study.peaks, sizeof work->study.peaks);
    message_write(work->socket, &work->out, &err);
}

/* Waits for the next whole message; false when the other end is closed. */
static bool next_message(Work *work, Inbox *inbox) {
    bool found = false;
    Error err;
    for (;;) {
        if (inbox_take(inbox, &work->in, &found, &err) != OK) return false;
        if (found) return true;
        if (inbox_room(inbox, READ_ROOM, &err) != OK) return false;
        const ssize_t got = recv(work->socket, inbox->bytes + inbox->size, READ_ROOM, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        inbox->size += (size_t)got;
    }
}

void study_work(void *context, int socket) {
    Work work = { .study = *(const Study *)context, .socket = socket };
    Inbox inbox = { 0 };
    if (work.study.store) store_leave(work.study.store);
    work.study.store = NULL;
    work.study.put = put_point;
    work.study.put_context = &work;
    while (next_message(&work, &inbox)) answer(&work);
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (study_phases[phase].forget) study_phases[phase].forget(work.study.kept[phase]);
    inbox_free(&inbox);
    message_free(&work.in);
    message_free(&work.out);
}
