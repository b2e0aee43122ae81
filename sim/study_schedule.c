/* study_schedule.c -- the process that owns list and store: gives points to idle workers, stores
 * what they say, gives again what a lost one had; see study_schedule.h. */
#include "study_schedule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "buffer.h"
#include "stop.h"
#include "study_talk.h"

/* A point that a worker was given and has not finished. */
typedef struct {
    size_t slot, index, memory_bytes;
    double seconds; /* estimated */
} Open;

typedef enum { SEAT_IDLE, SEAT_HELD, SEAT_MEASURING, SEAT_BUSY, SEAT_GONE } SeatState;

typedef struct {
    SeatState state; /* SEAT_HELD: has a batch that memory does not allow yet */
    Phase phase;
    unsigned losses;
    Open *open; /* in the order they are run */
    size_t count, capacity;
    size_t host, memory_bytes;
    double started_ns;
} Seat;

typedef struct {
    size_t memory_bytes; /* held by what runs there */
    Peaks peaks;
} Host;

/* One run of the list. */
typedef struct {
    Schedule *schedule;
    Study *study;
    Crew *crew;
    Handout *handout;
    Seat *seat;
    Host *host;
    size_t *host_of;
    Message in, out;
    double started_ns, told_ns;
    double all_seconds, done_seconds; /* estimated: of the list, of what was run now */
    size_t busy;                      /* workers that have something to do */
    Progress progress;
    char line[640]; /* of the last point that was stored, while it is not told of */
    bool untold;
} Run;

enum { LOSSES_MOST = 3 };

static const double WAIT_SECONDS = 0.5, LAST_SECONDS = 0.2, TOLD_NS = 0.1e9;

/* ---- telling ---- */

static void describe_running(const Run *run, char *text, size_t size) {
    text[0] = '\0';
    size_t others = 0, used = 0;
    for (size_t w = 0; w < run->crew->count; w++) {
        const Seat *seat = &run->seat[w];
        if (seat->state != SEAT_BUSY || !seat->count) continue;
        Task task;
        Error err;
        if (used || study_plan(run->study, seat->phase, seat->open[0].index, &task, &err) != OK) {
            others++;
            continue;
        }
        used = (size_t)snprintf(text, size, "%s %s %s s=%zu", task.point.phase, task.point.label,
                                task.point.path, task.point.context_tokens);
    }
    if (others && used < size) snprintf(text + used, size - used, " and %zu more", others);
}

static void tell(Run *run, const char *line, bool important) {
    const StudyOptions *options = run->schedule->options;
    Progress *p = &run->progress;
    if (!options->progress) return;
    const double now_ns = measure_now_ns(), seconds = (now_ns - run->started_ns) / 1e9;
    p->points = run->schedule->preview.points;
    p->per_second = seconds > 0 ? (double)run->schedule->summary->done / seconds : 0;
    p->left_seconds = -1;
    if (run->done_seconds > 0)
        p->left_seconds =
            seconds * fmax(0, run->all_seconds - run->done_seconds) / run->done_seconds;
    if (now_ns - run->told_ns > TOLD_NS) {
        describe_running(run, p->running, sizeof p->running);
        run->told_ns = now_ns;
    }
    options->progress(options->context, p, line, important);
}

/* ---- storing ---- */

/* Commits what was stored; only then is it told of. */
static Status commit(Run *run, bool important, Error *err) {
    TRY(store_commit(run->study->store, err));
    if (run->untold) tell(run, run->line, important);
    run->untold = false;
    return OK;
}

static Status store_point(Run *run, Point *point, const MetricList *metrics, Error *err) {
    StudySummary *summary = run->schedule->summary;
    TRY(store_add(run->study->store, point, metrics->metric, metrics->count, err));
    if (point->status == POINT_DONE) summary->done++;
    if (point->status == POINT_LEFT_OUT) summary->left_out++;
    if (point->status == POINT_FAILED) summary->failed++;
    run->progress.finished++;
    study_describe(point, metrics, run->line, sizeof run->line);
    run->untold = true;
    if (point->status != POINT_FAILED && run->progress.finished < run->schedule->preview.points)
        return OK;
    return commit(run, true, err);
}

/* Stores as failed a point that no worker will say anything of. */
static Status store_failed(Run *run, Phase phase, size_t index, const char *why, Error *err) {
    Task task;
    TRY(study_plan(run->study, phase, index, &task, err));
    task.point.status = POINT_FAILED;
    snprintf(task.point.message, sizeof task.point.message, "%.250s", why);
    return store_point(run, &task.point, &(MetricList){ .count = 0 }, err);
}

/* ---- giving ---- */

static Status add_open(Seat *seat, Open open, Error *err) {
    Open *grown = buffer_grown(seat->open, &seat->capacity, seat->count, seat->count + 1,
                               sizeof *grown, "points handed out", err);
    if (!grown) return ERR_MACHINE;
    seat->open = grown;
    seat->open[seat->count++] = open;
    return OK;
}

/* Adds a slot to a worker's batch unless it is not ours, finished, the same as an earlier one, or
 * left out (which is stored at once). */
static Status open_slot(Run *run, Seat *seat, Phase phase, size_t slot, Error *err) {
    const size_t members = run->schedule->shard.shape[phase].members;
    if (!study_shard_has(&run->schedule->shard, phase, slot)) return OK;
    Task task;
    const size_t index = config_member(run->study->config, phase, slot / members, slot % members);
    TRY(study_plan(run->study, phase, index, &task, err));
    if (study_repeats(run->study, phase, &task)) return OK;
    bool stored;
    TRY(store_has(run->study->store, task.point.key, &stored, err));
    const double seconds = study_seconds(&task, phase);
    if (stored) {
        run->progress.finished++;
        run->all_seconds -= seconds; /* nothing is left of it to run */
        return OK;
    }
    if (task.point.status == POINT_LEFT_OUT)
        return store_point(run, &task.point, &(MetricList){ .count = 0 }, err);
    return add_open(seat, (Open){ slot, index, task.memory_bytes, seconds }, err);
}

/* What a batch holds at once: timed points lie side by side as far as memory goes. */
static size_t batch_memory(const Run *run, const Seat *seat) {
    size_t bytes = 0;
    for (size_t i = 0; i < seat->count; i++) {
        const size_t own = seat->open[i].memory_bytes;
        bytes = study_phases[seat->phase].timed ? bytes + own : own > bytes ? own : bytes;
    }
    return bytes < run->study->memory_bytes ? bytes : run->study->memory_bytes;
}

static Status send_batch(Run *run, size_t worker, Error *err) {
    Seat *seat = &run->seat[worker];
    message_start(&run->out, TALK_RUN);
    message_put(&run->out, &seat->phase, sizeof seat->phase);
    message_put(&run->out, &run->host[seat->host].peaks, sizeof(Peaks));
    message_put(&run->out, &run->study->memory_bytes, sizeof run->study->memory_bytes);
    message_put(&run->out, &seat->count, sizeof seat->count);
    for (size_t i = 0; i < seat->count; i++)
        message_put(&run->out, &seat->open[i].index, sizeof seat->open[i].index);
    seat->state = SEAT_BUSY;
    seat->started_ns = measure_now_ns();
    return run->crew->send(run->crew, worker, &run->out, err);
}

/* Sends the batch that a worker has, or what must come before it. */
static Status start_batch(Run *run, size_t worker, Error *err) {
    Seat *seat = &run->seat[worker];
    Host *host = &run->host[seat->host];
    const size_t bytes = batch_memory(run, seat);
    if (host->memory_bytes && host->memory_bytes + bytes > run->study->memory_bytes) {
        seat->state = SEAT_HELD;
        return OK;
    }
    host->memory_bytes += seat->memory_bytes = bytes;
    run->busy++;
    if (!study_phases[seat->phase].timed || host->peaks.fma_f32_gflops > 0)
        return send_batch(run, worker, err);
    seat->state = SEAT_MEASURING;
    message_start(&run->out, TALK_PEAKS);
    return run->crew->send(run->crew, worker, &run->out, err);
}

/* Gives an idle worker its next batch, if there is one. */
static Status give(Run *run, size_t worker, Error *err) {
    Seat *seat = &run->seat[worker];
    HandoutBatch batch;
    if (seat->state == SEAT_HELD) return start_batch(run, worker, err);
    while (seat->state == SEAT_IDLE && handout_take(run->handout, worker, &batch)) {
        seat->phase = (Phase)batch.list;
        seat->losses = batch.losses;
        seat->count = 0;
        for (size_t i = 0; i < batch.count; i++)
            TRY(open_slot(run, seat, seat->phase, batch.first + i, err));
        if (seat->count) return start_batch(run, worker, err);
        handout_done(run->handout, worker, 0);
    }
    return OK;
}

static Status give_all(Run *run, Error *err) {
    for (size_t w = 0; w < run->crew->count; w++)
        if (run->seat[w].state == SEAT_IDLE || run->seat[w].state == SEAT_HELD)
            TRY(give(run, w, err));
    return OK;
}

/* ---- hearing ---- */

/* The worker has nothing to do any more. */
static void free_seat(Run *run, size_t worker) {
    Seat *seat = &run->seat[worker];
    if (seat->state == SEAT_BUSY || seat->state == SEAT_MEASURING) {
        run->host[seat->host].memory_bytes -= seat->memory_bytes;
        run->busy--;
    }
    seat->memory_bytes = 0;
    seat->count = 0;
    seat->state = SEAT_IDLE;
}

static Status hear_point(Run *run, size_t worker, Error *err) {
    Seat *seat = &run->seat[worker];
    TalkPoint said;
    TRY(talk_take_point(&run->in, &said, err));
    const size_t index = study_place_index(said.point.place);
    size_t at = 0;
    while (at < seat->count && seat->open[at].index != index) at++;
    if (at == seat->count) return fail(err, ERR_MACHINE, "a worker ran a point unasked");
    run->done_seconds += seat->open[at].seconds;
    seat->count--;
    memmove(&seat->open[at], &seat->open[at + 1], (seat->count - at) * sizeof *seat->open);
    const CrewMember *member = &run->crew->member[worker];
    snprintf(said.point.host, sizeof said.point.host, "%s", member->host);
    said.point.rank = member->rank;
    return store_point(run, &said.point, &said.metrics, err);
}

/* A worker says why it cannot run what it was given. */
static Status hear_trouble(Run *run, size_t worker, Error *err) {
    Seat *seat = &run->seat[worker];
    Error why = { 0 };
    message_take(&run->in, &why, sizeof why);
    why.text[sizeof why.text - 1] = '\0';
    for (size_t i = 0; i < seat->count; i++)
        TRY(store_failed(run, seat->phase, seat->open[i].index, why.text, err));
    return OK;
}

/* A host other than the first says its peaks under its own name. */
static Status store_peaks(Run *run, size_t worker, Error *err) {
    char name[96], text[96];
    const Peaks *peaks = &run->host[run->seat[worker].host].peaks;
    snprintf(name, sizeof name, "peaks of %s", run->crew->member[worker].host);
    snprintf(text, sizeof text, "%.6g GB/s, %.6g GB/s from cache, %.6g GFLOP/s",
             peaks->read_gbytes_s, peaks->l3_read_gbytes_s, peaks->fma_f32_gflops);
    return store_set(run->study->store, name, text, err);
}

static Status hear(Run *run, size_t worker, Error *err) {
    Seat *seat = &run->seat[worker];
    switch (run->in.kind) {
    case TALK_POINT:
        return hear_point(run, worker, err);
    case TALK_PEAKS:
        message_take(&run->in, &run->host[seat->host].peaks, sizeof(Peaks));
        TRY(store_peaks(run, worker, err));
        return send_batch(run, worker, err);
    case TALK_TROUBLE:
        TRY(hear_trouble(run, worker, err));
        break;
    case TALK_DONE:
        break;
    default:
        return fail(err, ERR_MACHINE, "a worker said what nobody knows (%u)", run->in.kind);
    }
    handout_done(run->handout, worker, (measure_now_ns() - seat->started_ns) / 1e9);
    free_seat(run, worker);
    return OK;
}

/* Gives again what a lost worker had. It died of the first point of a batch, or of any of a timed
 * group; one that it had died of before is stored as failed. */
static Status give_again(Run *run, size_t worker, const char *reason, Error *err) {
    Seat *seat = &run->seat[worker];
    const bool timed = study_phases[seat->phase].timed;
    for (size_t i = 0; i < seat->count; i++) {
        const bool suspect = seat->state == SEAT_BUSY && (timed || i == 0);
        const unsigned losses = seat->losses + suspect;
        if (losses < LOSSES_MOST)
            TRY(handout_again(run->handout, seat->phase, seat->open[i].slot, losses, err));
        else
            TRY(store_failed(run, seat->phase, seat->open[i].index, reason, err));
    }
    return OK;
}

static Status hear_loss(Run *run, const CrewEvent *event, Error *err) {
    const size_t worker = event->worker;
    char line[256];
    Error why;
    run->schedule->summary->lost++;
    snprintf(line, sizeof line, "a worker on %.63s was lost: %.95s", run->crew->member[worker].host,
             event->reason);
    tell(run, line, true);
    TRY(give_again(run, worker, event->reason, err));
    handout_done(run->handout, worker, 1);
    free_seat(run, worker);
    if (run->crew->replace(run->crew, worker, &why) == OK) return OK;
    run->seat[worker].state = SEAT_GONE;
    tell(run, why.text, true);
    for (size_t w = 0; w < run->crew->count; w++)
        if (run->seat[w].state != SEAT_GONE) return OK;
    return fail(err, ERR_MACHINE, "no worker is left: %s", why.text);
}

/* Waits for an event. What came in is committed before: points that come faster than that share a
 * commit. */
static Status wait_event(Run *run, double seconds, CrewEvent *event, Error *err) {
    TRY(run->crew->wait(run->crew, 0, event, &run->in, err));
    if (event->kind != CREW_NOTHING) return OK;
    TRY(commit(run, false, err));
    return run->crew->wait(run->crew, seconds, event, &run->in, err);
}

/* One event, and what follows from it. */
static Status step(Run *run, double seconds, bool *quiet, Error *err) {
    CrewEvent event;
    TRY(wait_event(run, seconds, &event, err));
    *quiet = event.kind == CREW_NOTHING;
    if (event.kind == CREW_MESSAGE) TRY(hear(run, event.worker, err));
    if (event.kind == CREW_LOST) TRY(hear_loss(run, &event, err));
    if (*quiet) tell(run, NULL, false);
    return OK;
}

/* Ends all workers; points that were said are still stored, what else was at hand is not. */
static Status stop(Run *run, Error *err) {
    run->schedule->summary->stopped = stop_signal();
    run->crew->halt(run->crew);
    for (;;) {
        CrewEvent event;
        TRY(wait_event(run, LAST_SECONDS, &event, err));
        if (event.kind == CREW_NOTHING) return OK;
        if (event.kind == CREW_MESSAGE && run->in.kind == TALK_POINT)
            TRY(hear_point(run, event.worker, err));
    }
}

static Status run_list(Run *run, Error *err) {
    bool quiet = false;
    TRY(give_all(run, err));
    while (run->busy) {
        if (stop_signal()) return stop(run, err);
        TRY(step(run, WAIT_SECONDS, &quiet, err));
        if (!quiet) TRY(give_all(run, err));
    }
    return OK;
}

/* Numbers the hosts of the crew in the order they are met; the first worker's has number 0. */
static size_t number_hosts(const Crew *crew, size_t *host_of) {
    size_t hosts = 0;
    for (size_t w = 0; w < crew->count; w++) {
        size_t before = 0;
        while (strcmp(crew->member[before].host, crew->member[w].host) != 0) before++;
        host_of[w] = before < w ? host_of[before] : hosts++;
    }
    return hosts;
}

static Status run_open(Run *run, Error *err) {
    const Crew *crew = run->crew;
    const StudyPreview *preview = &run->schedule->preview;
    TRY(BUFFER(&run->seat, crew->count, "workers", err));
    TRY(BUFFER(&run->host_of, crew->count, "workers", err));
    TRY(BUFFER(&run->host, number_hosts(crew, run->host_of), "hosts", err));
    for (size_t w = 0; w < crew->count; w++) run->seat[w].host = run->host_of[w];
    run->host[0].peaks = run->study->peaks;
    run->started_ns = measure_now_ns();
    run->all_seconds = preview->timed_seconds + preview->other_seconds;
    return handout_new(&run->handout, PHASE_COUNT, run->schedule->shard.shape, crew->count,
                       run->host_of, run->study->first.cluster.share_host, err);
}

static void run_close(Run *run) {
    for (size_t w = 0; run->seat && w < run->crew->count; w++) buffer_free(run->seat[w].open);
    buffer_free(run->seat);
    buffer_free(run->host);
    buffer_free(run->host_of);
    handout_free(run->handout);
    message_free(&run->in);
    message_free(&run->out);
}

Status schedule_run(Schedule *schedule, Error *err) {
    Run run = { .schedule = schedule, .study = schedule->study, .crew = schedule->crew };
    Error ignored;
    Status status = run_open(&run, err);
    if (status == OK) status = run_list(&run, err);
    const Status committed = commit(&run, false, status == OK ? err : &ignored);
    if (status == OK) status = committed;
    if (status != OK) schedule->crew->halt(schedule->crew);
    run_close(&run);
    return status;
}

Status schedule_peaks(Schedule *schedule, Error *err) {
    Message message = { 0 };
    CrewEvent event = { .kind = CREW_NOTHING };
    message_start(&message, TALK_PEAKS);
    Status status = schedule->crew->send(schedule->crew, 0, &message, err);
    while (status == OK && event.kind == CREW_NOTHING && !stop_signal())
        status = schedule->crew->wait(schedule->crew, WAIT_SECONDS, &event, &message, err);
    Peaks peaks = { 0 };
    if (status == OK && event.kind == CREW_MESSAGE) message_take(&message, &peaks, sizeof peaks);
    if (status == OK && event.kind == CREW_MESSAGE && message.kind != TALK_PEAKS)
        status = fail(err, ERR_MACHINE, "this machine's peaks cannot be measured");
    if (status == OK && event.kind == CREW_LOST)
        status =
            fail(err, ERR_MACHINE, "this machine's peaks cannot be measured: %s", event.reason);
    if (status == OK) schedule->study->peaks = peaks;
    message_free(&message);
    return status;
}
