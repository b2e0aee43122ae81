/* handout.c -- stretches, batches and what is given again; see handout.h. */
#include "handout.h"

#include "buffer.h"

enum { BATCH_MOST = 256, STRETCH_MOST = 1024 };

/* A batch that took less grows, one that took more shrinks. */
static const double SHORT_SECONDS = 0.05, LONG_SECONDS = 0.2;

typedef struct {
    size_t first, end; /* slots kept for a worker */
    size_t batch;      /* points that it gets at once */
} Stretch;

typedef struct {
    HandoutList shape;
    size_t next; /* the first group that is in no stretch */
    size_t left; /* slots not given */
} List;

typedef struct {
    size_t running, timed; /* workers of a host that have a batch, and a timed one */
} Host;

typedef struct {
    bool busy;
    size_t list; /* of the batch it has */
} Seat;

typedef struct {
    size_t list, slot;
    unsigned losses;
} Again;

struct Handout {
    List *list;
    Seat *seat;
    Host *host;
    Stretch *stretch; /* [workers, lists] */
    Again *again;
    size_t lists, workers, left, again_count, again_capacity;
    size_t *host_of;
    bool share_host;
};

static Status allocate(Handout *h, size_t hosts, Error *err) {
    TRY(BUFFER(&h->list, h->lists, "a hand-out", err));
    TRY(BUFFER(&h->seat, h->workers, "a hand-out", err));
    TRY(BUFFER(&h->host, hosts, "a hand-out", err));
    TRY(BUFFER(&h->host_of, h->workers, "a hand-out", err));
    return BUFFER(&h->stretch, h->workers * h->lists, "a hand-out", err);
}

Status handout_new(Handout **handout, size_t lists, const HandoutList *list, size_t workers,
                   const size_t *host, bool share_host, Error *err) {
    Handout *h = NULL;
    size_t hosts = 1;
    for (size_t w = 0; w < workers; w++)
        if (host[w] >= hosts) hosts = host[w] + 1;
    TRY(BUFFER(&h, 1, "a hand-out", err));
    h->lists = lists, h->workers = workers, h->share_host = share_host;
    const Status status = allocate(h, hosts, err);
    if (status != OK) {
        handout_free(h);
        return status;
    }
    for (size_t w = 0; w < workers; w++) h->host_of[w] = host[w];
    for (size_t i = 0; i < workers * lists; i++) h->stretch[i].batch = 1;
    for (size_t i = 0; i < lists; i++) {
        h->list[i] = (List){ .shape = list[i], .left = list[i].groups * list[i].members };
        h->left += h->list[i].left;
    }
    *handout = h;
    return OK;
}

void handout_free(Handout *h) {
    if (!h) return;
    buffer_free(h->list);
    buffer_free(h->seat);
    buffer_free(h->host);
    buffer_free(h->host_of);
    buffer_free(h->stretch);
    buffer_free(h->again);
    buffer_free(h);
}

static Stretch *stretch_of(const Handout *h, size_t worker, size_t list) {
    return &h->stretch[worker * h->lists + list];
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Groups that no worker has yet: one where members share, else a part of what is left. */
static void reserve(const Handout *h, List *list, Stretch *s) {
    const size_t open = list->shape.groups - list->next;
    size_t groups = 1;
    if (list->shape.members == 1) groups = least(STRETCH_MOST, open / (4 * h->workers) + 1);
    s->first = list->next * list->shape.members;
    list->next += groups;
    s->end = list->next * list->shape.members;
}

/* Half of the longest stretch that another worker keeps, its end. */
static void steal(const Handout *h, size_t list, Stretch *s) {
    Stretch *longest = NULL;
    for (size_t w = 0; w < h->workers; w++) {
        Stretch *other = stretch_of(h, w, list);
        if (!longest || other->end - other->first > longest->end - longest->first) longest = other;
    }
    s->end = longest->end;
    s->first = longest->end -= (longest->end - longest->first + 1) / 2;
}

static bool take_again(Handout *h, size_t list, HandoutBatch *batch) {
    for (size_t i = 0; i < h->again_count; i++) {
        if (h->again[i].list != list) continue;
        *batch = (HandoutBatch){ list, h->again[i].slot, 1, h->again[i].losses };
        h->again[i] = h->again[--h->again_count];
        return true;
    }
    return false;
}

static bool take_new(Handout *h, size_t worker, size_t number, HandoutBatch *batch) {
    List *list = &h->list[number];
    Stretch *s = stretch_of(h, worker, number);
    if (s->first == s->end) {
        if (list->next < list->shape.groups)
            reserve(h, list, s);
        else if (!list->shape.timed)
            steal(h, number, s);
    }
    if (s->first == s->end) return false;
    size_t count = s->end - s->first;
    if (!list->shape.timed) /* towards the end of a list small batches balance */
        count = least(count, least(s->batch, list->left / (2 * h->workers) + 1));
    *batch = (HandoutBatch){ number, s->first, count, 0 };
    s->first += count;
    return true;
}

static bool may_run(const Handout *h, size_t worker, size_t list) {
    const Host *host = &h->host[h->host_of[worker]];
    if (h->share_host) return true;
    return h->list[list].shape.timed ? host->running == 0 : host->timed == 0;
}

bool handout_take(Handout *h, size_t worker, HandoutBatch *batch) {
    Host *host = &h->host[h->host_of[worker]];
    for (size_t i = 0; i < h->lists; i++) {
        if (!h->list[i].left || !may_run(h, worker, i)) continue;
        if (!take_again(h, i, batch) && !take_new(h, worker, i, batch)) continue;
        h->list[i].left -= batch->count;
        h->left -= batch->count;
        host->running++;
        host->timed += h->list[i].shape.timed;
        h->seat[worker] = (Seat){ true, i };
        return true;
    }
    return false;
}

static void stand_up(Handout *h, size_t worker) {
    Seat *seat = &h->seat[worker];
    Host *host = &h->host[h->host_of[worker]];
    if (!seat->busy) return;
    seat->busy = false;
    host->running--;
    host->timed -= h->list[seat->list].shape.timed;
}

void handout_done(Handout *h, size_t worker, double seconds) {
    Stretch *s = stretch_of(h, worker, h->seat[worker].list);
    stand_up(h, worker);
    if (seconds < SHORT_SECONDS) s->batch = least(2 * s->batch, BATCH_MOST);
    if (seconds > LONG_SECONDS) s->batch = s->batch / 2 + s->batch % 2;
}

Status handout_again(Handout *h, size_t list, size_t slot, unsigned losses, Error *err) {
    Again *grown = buffer_grown(h->again, &h->again_capacity, h->again_count, h->again_count + 1,
                                sizeof *grown, "points to run again", err);
    if (!grown) return ERR_MACHINE;
    h->again = grown;
    grown[h->again_count++] = (Again){ list, slot, losses };
    h->list[list].left++;
    h->left++;
    return OK;
}

/* What it kept of lists that are not timed is stolen like any stretch; a timed stretch is always
 * given whole. */
void handout_leave(Handout *h, size_t worker) {
    stand_up(h, worker);
}

size_t handout_left(const Handout *h) {
    return h->left;
}

bool handout_shard(const HandoutList *list, size_t before, size_t slot, size_t shard,
                   size_t shards) {
    const size_t group = slot / list->members;
    const bool whole = list->timed || list->groups >= shards;
    return (whole ? before + group : before + slot) % shards == shard;
}
