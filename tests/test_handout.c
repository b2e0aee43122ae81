/* test_handout.c -- every point is given once, timed groups whole and alone on their host, to any
 * number of workers in any order of asking. */
#include "handout.h"

#include <criterion/criterion.h>
#include <string.h>

enum { LISTS = 3, SLOTS_MOST = 4096, WORKERS_MOST = 64 };

typedef struct {
    Handout *handout;
    const HandoutList *list;
    size_t workers, host[WORKERS_MOST];
    HandoutBatch batch[WORKERS_MOST];
    bool busy[WORKERS_MOST];
    unsigned given[LISTS][SLOTS_MOST];
} Scene;

static const HandoutList mixed[LISTS] = { { false, 700, 1 }, { true, 9, 5 }, { false, 3, 40 } };

static void open_scene(Scene *s, const HandoutList *list, size_t workers, size_t hosts,
                       bool share_host) {
    Error err;
    memset(s, 0, sizeof *s);
    s->list = list;
    s->workers = workers;
    for (size_t w = 0; w < workers; w++) s->host[w] = w % hosts;
    cr_assert_eq(handout_new(&s->handout, LISTS, list, workers, s->host, share_host, &err), OK);
}

static bool take(Scene *s, size_t w) {
    if (s->busy[w] || !handout_take(s->handout, w, &s->batch[w])) return false;
    const HandoutBatch *b = &s->batch[w];
    const HandoutList *list = &s->list[b->list];
    s->busy[w] = true;
    cr_assert_leq(b->first + b->count, list->groups * list->members);
    for (size_t i = 0; i < b->count; i++) s->given[b->list][b->first + i]++;
    if (list->timed && b->losses == 0) {
        cr_assert_eq(b->count, list->members, "a timed group is given whole");
        cr_assert_eq(b->first % list->members, 0);
    }
    return true;
}

static void done(Scene *s, size_t w, double seconds) {
    s->busy[w] = false;
    handout_done(s->handout, w, seconds);
}

/* On no host does anything run beside a timed group. */
static void expect_alone(const Scene *s) {
    for (size_t a = 0; a < s->workers; a++)
        for (size_t b = 0; b < s->workers; b++)
            if (a != b && s->busy[a] && s->busy[b] && s->host[a] == s->host[b])
                cr_assert_not(s->list[s->batch[a].list].timed);
}

static void expect_each_once(const Scene *s) {
    cr_assert_eq(handout_left(s->handout), 0);
    for (size_t l = 0; l < LISTS; l++)
        for (size_t i = 0; i < s->list[l].groups * s->list[l].members; i++)
            cr_assert_eq(s->given[l][i], 1, "list %zu slot %zu: %u times", l, i, s->given[l][i]);
}

/* Pseudo-random, the same each time. */
static size_t draw(unsigned *state, size_t below) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % below;
}

/* Workers ask and finish in a random order until nothing is left. */
static void run_scene(Scene *s, unsigned seed, bool alone) {
    bool busy = true;
    while (busy) {
        for (size_t n = 0; n < s->workers; n++) take(s, draw(&seed, s->workers));
        if (alone) expect_alone(s);
        busy = false;
        for (size_t w = 0; w < s->workers; w++) {
            if (s->busy[w] && draw(&seed, 3) == 0) done(s, w, draw(&seed, 2) ? 0.01 : 0.3);
            busy |= s->busy[w];
        }
        for (size_t w = 0; !busy && w < s->workers; w++) busy = take(s, w);
    }
}

Test(handout, every_slot_is_given_once_whoever_asks) {
    static Scene s;
    for (unsigned seed = 1; seed <= 20; seed++) {
        open_scene(&s, mixed, 1 + seed * 3 % WORKERS_MOST, 1 + seed % 5, seed % 2);
        run_scene(&s, seed, seed % 2 == 0);
        expect_each_once(&s);
        handout_free(s.handout);
    }
}

Test(handout, one_worker_gets_the_lists_in_order) {
    static Scene s;
    size_t list = 0, next = 0;
    open_scene(&s, mixed, 1, 1, false);
    while (take(&s, 0)) {
        const HandoutBatch *b = &s.batch[0];
        if (b->list != list) list++, next = 0;
        cr_assert_eq(b->list, list);
        cr_assert_eq(b->first, next);
        next += b->count;
        done(&s, 0, 0.1);
    }
    expect_each_once(&s);
    handout_free(s.handout);
}

Test(handout, a_timed_group_waits_until_its_host_is_idle) {
    static const HandoutList lists[LISTS] = { { true, 2, 2 }, { false, 100, 1 }, { false, 0, 1 } };
    static Scene s;
    open_scene(&s, lists, 2, 1, false);
    cr_assert(take(&s, 0));
    cr_assert_eq(s.batch[0].list, 0);
    cr_assert_not(take(&s, 1), "nothing runs beside a timed group");
    done(&s, 0, 1);
    cr_assert(take(&s, 1));
    cr_assert_eq(s.batch[1].list, 0);
    handout_free(s.handout);

    open_scene(&s, lists, 2, 1, true);
    cr_assert(take(&s, 0));
    cr_assert(take(&s, 1), "unless the study says so");
    handout_free(s.handout);

    open_scene(&s, lists, 2, 2, false);
    cr_assert(take(&s, 0));
    cr_assert(take(&s, 1), "another host is another matter");
    handout_free(s.handout);
}

Test(handout, members_of_a_group_stay_with_a_worker_while_there_are_groups_for_all) {
    static const HandoutList lists[LISTS] = { { false, 2, 8 }, { false, 0, 1 }, { false, 0, 1 } };
    static Scene s;
    open_scene(&s, lists, 2, 1, false);
    for (size_t n = 0; n < 16; n++) {
        const size_t w = n % 2;
        cr_assert(take(&s, w));
        for (size_t i = 0; i < s.batch[w].count; i++)
            cr_assert_eq((s.batch[w].first + i) / 8, w, "worker %zu got slot %zu", w,
                         s.batch[w].first);
        done(&s, w, 0.1);
        if (handout_left(s.handout) == 0) break;
    }
    expect_each_once(&s);
    handout_free(s.handout);
}

Test(handout, who_is_idle_gets_half_of_the_longest_stretch) {
    static const HandoutList lists[LISTS] = { { false, 1, 100 }, { false, 0, 1 }, { false, 0, 1 } };
    static Scene s;
    open_scene(&s, lists, 2, 1, false);
    cr_assert(take(&s, 0));
    cr_assert(take(&s, 1));
    cr_assert_eq(s.batch[1].first, 50, "%zu", s.batch[1].first);
    handout_free(s.handout);
}

Test(handout, quick_points_come_in_larger_batches_and_slow_ones_alone) {
    static const HandoutList lists[LISTS] = { { false, 4000, 1 },
                                              { false, 0, 1 },
                                              { false, 0, 1 } };
    static Scene s;
    size_t batches = 0;
    open_scene(&s, lists, 1, 1, false);
    for (; take(&s, 0); batches++) done(&s, 0, 0.001);
    cr_assert_lt(batches, 60, "%zu", batches);
    handout_free(s.handout);
    open_scene(&s, lists, 1, 1, false);
    for (batches = 0; take(&s, 0); batches++) done(&s, 0, 5);
    cr_assert_eq(batches, 4000);
    handout_free(s.handout);
}

Test(handout, what_a_lost_worker_had_is_given_again_alone) {
    static Scene s;
    Error err;
    open_scene(&s, mixed, 2, 1, false);
    cr_assert(take(&s, 0));
    done(&s, 0, 0.001);
    while (take(&s, 0) && s.batch[0].count < 4) done(&s, 0, 0.001);
    const HandoutBatch lost = s.batch[0];
    for (size_t i = 0; i < lost.count; i++)
        cr_assert_eq(handout_again(s.handout, lost.list, lost.first + i, i == 0, &err), OK);
    done(&s, 0, 1);
    for (size_t i = 0; i < lost.count; i++) {
        cr_assert(take(&s, 1));
        cr_assert_eq(s.batch[1].count, 1);
        cr_assert(s.batch[1].first >= lost.first && s.batch[1].first < lost.first + lost.count);
        cr_assert_eq(s.batch[1].losses, s.batch[1].first == lost.first);
        done(&s, 1, 1);
    }
    run_scene(&s, 7, true);
    cr_assert_eq(handout_left(s.handout), 0);
    for (size_t i = 0; i < 700; i++)
        cr_assert_eq(s.given[0][i], i >= lost.first && i < lost.first + lost.count ? 2 : 1);
    handout_free(s.handout);
}

Test(handout, shards_share_out_all_slots_and_keep_timed_groups_whole) {
    enum { SHARDS = 5 };
    size_t counts[SHARDS] = { 0 }, before = 0;
    for (size_t l = 0; l < LISTS; l++) {
        for (size_t slot = 0; slot < mixed[l].groups * mixed[l].members; slot++) {
            size_t owners = 0;
            for (size_t shard = 0; shard < SHARDS; shard++) {
                if (!handout_shard(&mixed[l], before, slot, shard, SHARDS)) continue;
                owners++, counts[shard]++;
                const size_t start = slot / mixed[l].members * mixed[l].members;
                if (mixed[l].timed)
                    cr_assert(handout_shard(&mixed[l], before, start, shard, SHARDS));
            }
            cr_assert_eq(owners, 1);
        }
        before += mixed[l].groups;
    }
    for (size_t shard = 0; shard < SHARDS; shard++)
        cr_assert(counts[shard] > 150 && counts[shard] < 200, "%zu", counts[shard]);
}
