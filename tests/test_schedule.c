/* test_schedule.c -- the process that hands out, with a crew that is not there: a thousand workers
 * whose points only take time. What they are given, hear and say goes through the same calls and
 * messages as with real ones. */
#include "study_schedule.h"

#include <time.h>

#include "study_runs.h"
#include "study_talk.h"

TestSuite(schedule, .init = make_folder, .fini = remove_folder, .timeout = 120);

enum { WORKERS = 1000, A_HOST = 8, SLOTS_MOST = 1 << 16 };

/* What a worker will say, and when. */
typedef struct {
    double at_s;
    size_t worker, index; /* SIZE_MAX: that it is done */
} Said;

typedef struct {
    Crew crew; /* first: a Crew of ours is this one */
    CrewMember member[WORKERS];
    const Study *study;
    Said heap[SLOTS_MOST]; /* the earliest first */
    size_t heaped;
    double free_s[WORKERS]; /* when a worker has done what it was given */
    double slept_s, cpu_s;  /* of all workers; of this crew, which real ranks would not cost */
    unsigned *ran;          /* [points] how often */
} Sleepers;

static double clock_of(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double now_s(void) {
    return clock_of(CLOCK_MONOTONIC);
}

static double cpu_s(void) {
    return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

static void swap(Said *a, Said *b) {
    const Said kept = *a;
    *a = *b, *b = kept;
}

static void push(Sleepers *s, Said said) {
    size_t at = s->heaped++;
    cr_assert_lt(at, SLOTS_MOST);
    s->heap[at] = said;
    for (; at && s->heap[at].at_s < s->heap[(at - 1) / 2].at_s; at = (at - 1) / 2)
        swap(&s->heap[at], &s->heap[(at - 1) / 2]);
}

static Said pop(Sleepers *s) {
    const Said first = s->heap[0];
    s->heap[0] = s->heap[--s->heaped];
    for (size_t at = 0, next; (next = 2 * at + 1) < s->heaped; at = next) {
        if (next + 1 < s->heaped && s->heap[next + 1].at_s < s->heap[next].at_s) next++;
        if (s->heap[at].at_s <= s->heap[next].at_s) break;
        swap(&s->heap[at], &s->heap[next]);
    }
    return first;
}

/* Uneven: 2 to 4 s, 3 on the mean. */
static double seconds_of(size_t index) {
    return 2 + 2 * (double)((index * 2654435761u) % 1000) / 999;
}

static Status send_to(Crew *crew, size_t worker, const Message *message, Error *err) {
    const double begin = cpu_s();
    Sleepers *s = (Sleepers *)crew;
    Message in = *message;
    Phase phase;
    Peaks peaks;
    size_t memory, count, index;
    (void)err;
    cr_assert_eq(message->kind, TALK_RUN);
    message_take(&in, &phase, sizeof phase);
    message_take(&in, &peaks, sizeof peaks);
    message_take(&in, &memory, sizeof memory);
    message_take(&in, &count, sizeof count);
    double at = now_s();
    cr_assert_leq(s->free_s[worker], at, "a worker is given more before it is done");
    for (size_t i = 0; i < count; i++) {
        message_take(&in, &index, sizeof index);
        at += seconds_of(index);
        s->slept_s += seconds_of(index);
        push(s, (Said){ at, worker, index });
    }
    cr_assert_not(in.failed);
    push(s, (Said){ at + 1e-4, worker, SIZE_MAX });
    s->free_s[worker] = at;
    s->cpu_s += cpu_s() - begin;
    return OK;
}

static void say(Sleepers *s, const Said *said, Message *message) {
    Task task;
    Error err;
    MetricList metrics = { .count = 0 };
    if (said->index == SIZE_MAX) {
        message_start(message, TALK_DONE);
        return;
    }
    s->ran[said->index]++;
    cr_assert_eq(study_plan(s->study, PHASE_BYTES, said->index, &task, &err), OK, "%s", err.text);
    for (int i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "metric_%d", i);
        metric_add(&metrics, name, "1", (double)(said->index + (size_t)i), KIND_EXACT);
    }
    talk_put_point(message, &task.point, &metrics);
}

static Status wait_for(Crew *crew, double seconds, CrewEvent *event, Message *message, Error *err) {
    const double begin = cpu_s();
    Sleepers *s = (Sleepers *)crew;
    (void)err;
    *event = (CrewEvent){ .kind = CREW_NOTHING };
    const double first = s->heaped ? s->heap[0].at_s - now_s() : seconds;
    const double nap = first < seconds ? first : seconds;
    if (nap > 0)
        nanosleep(&(struct timespec){ (time_t)nap, (long)((nap - (double)(time_t)nap) * 1e9) },
                  NULL);
    if (s->heaped && s->heap[0].at_s <= now_s()) {
        const Said said = pop(s);
        *event = (CrewEvent){ .kind = CREW_MESSAGE, .worker = said.worker };
        say(s, &said, message);
    }
    s->cpu_s += cpu_s() - begin;
    return OK;
}

static Status replace(Crew *crew, size_t worker, Error *err) {
    (void)crew, (void)worker;
    return fail(err, ERR_MACHINE, "none is lost here");
}

static void halt(Crew *crew) {
    (void)crew;
}

static Sleepers *make_sleepers(const Study *study, size_t points) {
    Sleepers *s = calloc(1, sizeof *s);
    cr_assert(s && (s->ran = calloc(points, sizeof *s->ran)));
    s->study = study;
    for (size_t w = 0; w < WORKERS; w++) {
        snprintf(s->member[w].host, sizeof s->member[w].host, "node-%zu", w / A_HOST);
        s->member[w].rank = (int)w;
    }
    s->crew = (Crew){ .count = WORKERS,
                      .member = s->member,
                      .send = send_to,
                      .wait = wait_for,
                      .replace = replace,
                      .halt = halt };
    return s;
}

/* contenders x blocks x tokens: 3,000 points of which each is another. */
static const char text[] = "model: Llama-3.2-1B\nphases: [bytes]\nthreads: 1\n"
                           "contenders: [mha, mqa, mla-64+32]\n"
                           "cache: { block_tokens: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] }\n"
                           "bytes: { tokens: [%s] }\n";

static ConfigFile *read_config(void) {
    static char list[1024], page[2048];
    ConfigFile *config = NULL;
    Error err;
    size_t used = 0;
    for (int i = 1; i <= 100; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%d", i > 1 ? ", " : "", i);
    snprintf(page, sizeof page, text, list);
    cr_assert_eq(config_parse(&config, "study.yaml", page, strlen(page), &err), OK, "%s", err.text);
    return config;
}

static void expect_each_stored_once(const Sleepers *s, size_t points) {
    StoredRun stored = read_run("many");
    cr_assert_eq(stored.point_count, points);
    for (size_t i = 0; i < points; i++) {
        cr_assert_eq(s->ran[i], 1, "point %zu ran %u times", i, s->ran[i]);
        cr_assert_eq(stored.points[i].point.place, study_place(PHASE_BYTES, i));
        cr_assert_eq(stored.points[i].metrics[5].value, (double)i + 5);
    }
    store_run_free(&stored);
}

Test(schedule, a_thousand_ranks_keep_who_hands_out_under_5_percent_busy) {
    ConfigFile *config = read_config();
    Error err;
    char path[128];
    Study study = { .config = config, .memory_bytes = (size_t)1 << 40 };
    StudySummary summary = { 0 };
    snprintf(path, sizeof path, "%s/many", folder);
    const StudyOptions options = { .folder = path };
    Schedule schedule = { .study = &study, .options = &options, .summary = &summary };
    cr_assert_eq(study_check(config, &study.model, &err), OK, "%s", err.text);
    config_point(config, PHASE_BYTES, 0, &study.first);
    schedule.shard = study_shard(config, 0, 1);
    cr_assert_eq(study_list(&study, &schedule.shard, &schedule.preview, &err), OK, "%s", err.text);
    const size_t points = schedule.preview.points;
    cr_assert_eq(points, 3000);
    cr_assert_eq(store_open(&study.store, path, config_text(config), false, &err), OK);
    Sleepers *sleepers = make_sleepers(&study, points);
    schedule.crew = &sleepers->crew;

    const double begin = now_s(), worked = cpu_s();
    cr_assert_eq(schedule_run(&schedule, &err), OK, "%s", err.text);
    const double wall = now_s() - begin, own = cpu_s() - worked - sleepers->cpu_s;
    store_close(study.store);

    cr_assert_eq(summary.done, points);
    expect_each_stored_once(sleepers, points);
    printf("%d ranks, %zu points of 2 to 4 s in %.1f s: who hands out is busy %.2f %%, %.0f us a "
           "point; ranks %.0f %%\n",
           WORKERS, points, wall, 100 * own / wall, 1e6 * own / (double)points,
           100 * sleepers->slept_s / WORKERS / wall);
#ifdef NDEBUG /* the program that people run, not one with checks built in */
    cr_assert_lt(own / wall, 0.05);
#endif
    free(sleepers->ran);
    free(sleepers);
    config_free(config);
}
