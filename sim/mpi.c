/* mpi.c -- the ranks of an MPI job as one crew; see ranks.h.
 *
 *   rank 0      list, store, hand-out      <- MPI ->   rank r    passes on
 *     | sockets                                          | sockets
 *     workers of rank 0                                  workers of rank r
 *
 * An MPI message is a head and the bytes of a worker's message. Nobody waits inside MPI, which
 * would keep a core busy: each looks whether something came, then sleeps at its workers' sockets,
 * longer the longer nothing comes. Sends are never waited for either; their buffers are kept until
 * MPI has taken them. Each side says now and then that it is alive. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buffer.h"
#include "ranks.h"
#include "stop.h"

/* What a message is about. */
typedef enum {
    ABOUT_TALK,
    ABOUT_LOST,
    ABOUT_REPLACE,
    ABOUT_HALT,
    ABOUT_END,
    ABOUT_LEAVE,
    ABOUT_LIFE
} About;

typedef struct {
    uint32_t about, worker; /* number among its rank's */
    uint32_t kind;          /* of the worker's message */
    char reason[96];
} Head;

/* What a rank says at the start. */
typedef struct {
    RankCard card;
    Status status;
    Error error;
    char host[64];
    uint64_t workers;
} Hello;

typedef struct {
    MPI_Request request;
    char *bytes;
} Sent;

typedef struct {
    int number;
    size_t first, workers; /* in the crew */
    double heard_s;
    bool gone;
    size_t lost_workers; /* of a rank that is gone: reported so far */
} Rank;

struct Ranks {
    Crew crew; /* first: a Crew of ours is these ranks */
    Workers *workers;
    Crew *local;
    CrewMember *member;
    Rank *rank;
    int size, number;
    double lost_seconds, said_s;
    Sent *sent;
    size_t sent_count, sent_capacity;
    double pause_s;
    bool ended, stop_seen;
    bool incomplete; /* a rank is gone: MPI cannot be ended in order */
};

static const double LIFE_SECONDS = 1, PAUSE_MOST = 0.002, PAUSE_FIRST = 0.0005;

static Ranks *of(Crew *crew) {
    return (Ranks *)crew;
}

static double clock_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- sending ---- */

/* Forgets the buffers that MPI has taken. */
static void reap(Ranks *ranks) {
    for (size_t i = 0; i < ranks->sent_count;) {
        int taken = 0;
        MPI_Test(&ranks->sent[i].request, &taken, MPI_STATUS_IGNORE);
        if (!taken) {
            i++;
            continue;
        }
        buffer_free(ranks->sent[i].bytes);
        ranks->sent[i] = ranks->sent[--ranks->sent_count];
    }
}

static Status post(Ranks *ranks, int to, const Head *head, const Message *message, Error *err) {
    const size_t size = sizeof *head + (message ? message->size : 0);
    reap(ranks);
    Sent *grown = buffer_grown(ranks->sent, &ranks->sent_capacity, ranks->sent_count,
                               ranks->sent_count + 1, sizeof *grown, "messages", err);
    if (!grown) return ERR_MACHINE;
    ranks->sent = grown;
    Sent *sent = &grown[ranks->sent_count];
    TRY(BUFFER(&sent->bytes, size, "a message", err));
    memcpy(sent->bytes, head, sizeof *head);
    if (message && message->size) memcpy(sent->bytes + sizeof *head, message->bytes, message->size);
    MPI_Isend(sent->bytes, (int)size, MPI_BYTE, to, 0, MPI_COMM_WORLD, &sent->request);
    ranks->sent_count++;
    return OK;
}

/* Says something without a worker's message; that the other end may be gone is no failure. */
static void post_head(Ranks *ranks, int to, About about, size_t worker) {
    const Head head = { .about = about, .worker = (uint32_t)worker };
    Error err;
    (void)post(ranks, to, &head, NULL, &err);
}

static void say_alive(Ranks *ranks) {
    const double now = clock_s();
    if (now - ranks->said_s < LIFE_SECONDS) return;
    ranks->said_s = now;
    if (ranks->number) {
        post_head(ranks, 0, ABOUT_LIFE, 0);
        return;
    }
    for (int r = 1; r < ranks->size; r++)
        if (!ranks->rank[r].gone) post_head(ranks, r, ABOUT_LIFE, 0);
}

/* ---- receiving ---- */

/* Takes the next message of any rank, if one has come. */
static Status receive(int *from, Head *head, Message *message, Error *err) {
    int here = 0, size = 0;
    MPI_Status status;
    *from = -1;
    MPI_Iprobe(MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, &here, &status);
    if (!here) return OK;
    MPI_Get_count(&status, MPI_BYTE, &size);
    char *bytes = NULL;
    TRY(BUFFER(&bytes, (size_t)size, "a message", err));
    MPI_Recv(bytes, size, MPI_BYTE, status.MPI_SOURCE, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    Status result = OK;
    if ((size_t)size < sizeof *head) {
        result = fail(err, ERR_MACHINE, "rank %d said what nobody knows", status.MPI_SOURCE);
    } else {
        memcpy(head, bytes, sizeof *head);
        message_start(message, head->kind);
        message_put(message, bytes + sizeof *head, (size_t)size - sizeof *head);
        if (message->failed) result = fail(err, ERR_MACHINE, "out of memory: a message");
        *from = status.MPI_SOURCE;
    }
    buffer_free(bytes);
    return result;
}

/* How long to sleep now, longer each time that nothing came. */
static double next_pause(Ranks *ranks, bool quiet) {
    const double longer = ranks->pause_s > 0 ? 2 * ranks->pause_s : PAUSE_FIRST;
    ranks->pause_s = !quiet ? 0 : longer < PAUSE_MOST ? longer : PAUSE_MOST;
    return ranks->pause_s;
}

/* ---- rank 0: the crew ---- */

static Rank *rank_of(Ranks *ranks, size_t worker) {
    int r = ranks->size - 1;
    while (ranks->rank[r].first > worker) r--;
    return &ranks->rank[r];
}

static Status send_to(Crew *crew, size_t worker, const Message *message, Error *err) {
    Ranks *ranks = of(crew);
    const Rank *rank = rank_of(ranks, worker);
    if (rank->number == 0) return ranks->local->send(ranks->local, worker, message, err);
    if (message->failed) return fail(err, ERR_MACHINE, "out of memory: a message");
    const Head head = { .about = ABOUT_TALK,
                        .worker = (uint32_t)(worker - rank->first),
                        .kind = message->kind };
    return rank->gone ? OK : post(ranks, rank->number, &head, message, err);
}

static Status replace(Crew *crew, size_t worker, Error *err) {
    Ranks *ranks = of(crew);
    const Rank *rank = rank_of(ranks, worker);
    if (rank->number == 0) return ranks->local->replace(ranks->local, worker, err);
    if (rank->gone) return fail(err, ERR_MACHINE, "rank %d is gone", rank->number);
    post_head(ranks, rank->number, ABOUT_REPLACE, worker - rank->first);
    return OK;
}

static void halt(Crew *crew) {
    Ranks *ranks = of(crew);
    ranks->local->halt(ranks->local);
    for (int r = 1; r < ranks->size; r++)
        if (!ranks->rank[r].gone) post_head(ranks, r, ABOUT_HALT, 0);
}

/* What another rank says, as an event. */
static void translate(Rank *rank, const Head *head, CrewEvent *event) {
    rank->heard_s = clock_s();
    if (rank->gone || head->worker >= rank->workers) return;
    event->worker = rank->first + head->worker;
    if (head->about == ABOUT_TALK) event->kind = CREW_MESSAGE;
    if (head->about != ABOUT_LOST) return;
    event->kind = CREW_LOST;
    snprintf(event->reason, sizeof event->reason, "%s", head->reason);
}

/* A rank that has not been heard of for too long is gone with its workers, one event each. */
static void find_lost(Ranks *ranks, CrewEvent *event) {
    const double now = clock_s();
    for (int r = 1; r < ranks->size; r++) {
        Rank *rank = &ranks->rank[r];
        if (!rank->gone && now - rank->heard_s > ranks->lost_seconds) rank->gone = true;
        if (!rank->gone || rank->lost_workers == rank->workers) continue;
        *event = (CrewEvent){ .kind = CREW_LOST, .worker = rank->first + rank->lost_workers++ };
        snprintf(event->reason, sizeof event->reason, "rank %d was not heard of for %.0f s", r,
                 ranks->lost_seconds);
        return;
    }
}

static Status wait_for(Crew *crew, double seconds, CrewEvent *event, Message *message, Error *err) {
    Ranks *ranks = of(crew);
    const double until = clock_s() + seconds;
    bool quiet = false;
    do {
        int from;
        Head head;
        *event = (CrewEvent){ .kind = CREW_NOTHING };
        TRY(receive(&from, &head, message, err));
        if (from > 0) translate(&ranks->rank[from], &head, event);
        if (event->kind == CREW_NOTHING && from < 0)
            TRY(ranks->local->wait(ranks->local, next_pause(ranks, quiet), event, message, err));
        if (event->kind == CREW_NOTHING && from < 0) find_lost(ranks, event);
        quiet = from < 0;
        say_alive(ranks);
        if (stop_signal() && !ranks->stop_seen) break; /* so that it is heard of soon */
    } while (event->kind == CREW_NOTHING && clock_s() < until);
    if (stop_signal()) ranks->stop_seen = true;
    return OK;
}

/* ---- the other ranks ---- */

static Status pass_on(Ranks *ranks, const CrewEvent *event, const Message *message, Error *err) {
    Head head = { .about = event->kind == CREW_LOST ? ABOUT_LOST : ABOUT_TALK,
                  .worker = (uint32_t)event->worker };
    snprintf(head.reason, sizeof head.reason, "%s", event->reason);
    if (event->kind == CREW_LOST) return post(ranks, 0, &head, NULL, err);
    head.kind = message->kind;
    return post(ranks, 0, &head, message, err);
}

static Status obey(Ranks *ranks, const Head *head, const Message *message, Error *err) {
    Crew *local = ranks->local;
    Error why;
    if (head->worker >= local->count) return OK;
    switch ((About)head->about) {
    case ABOUT_TALK:
        return local->send(local, head->worker, message, err);
    case ABOUT_REPLACE:
        if (local->replace(local, head->worker, &why) == OK) return OK;
        CrewEvent lost = { .kind = CREW_LOST, .worker = head->worker };
        snprintf(lost.reason, sizeof lost.reason, "%.90s", why.text);
        return pass_on(ranks, &lost, NULL, err);
    case ABOUT_HALT:
        local->halt(local);
        return OK;
    case ABOUT_LEAVE:
        ranks->incomplete = true;
        ranks->ended = true;
        return OK;
    case ABOUT_END:
        ranks->ended = true;
        return OK;
    default:
        return OK;
    }
}

Status ranks_serve(Ranks *ranks, Error *err) {
    Message message = { 0 };
    Status status = OK;
    bool quiet = false;
    double heard = clock_s();
    while (status == OK && !ranks->ended) {
        int from;
        Head head;
        CrewEvent event = { .kind = CREW_NOTHING };
        status = receive(&from, &head, &message, err);
        if (status == OK && from == 0) status = obey(ranks, &head, &message, err);
        if (from == 0) heard = clock_s();
        if (status == OK)
            status = ranks->local->wait(ranks->local, from < 0 ? next_pause(ranks, quiet) : 0,
                                        &event, &message, err);
        if (status == OK && event.kind != CREW_NOTHING)
            status = pass_on(ranks, &event, &message, err);
        quiet = from < 0 && event.kind == CREW_NOTHING;
        say_alive(ranks);
        if (status == OK && clock_s() - heard > 2 * ranks->lost_seconds)
            status = fail(err, ERR_MACHINE, "rank 0 was not heard of for %.0f s",
                          2 * ranks->lost_seconds);
    }
    ranks->local->halt(ranks->local);
    message_free(&message);
    return status;
}

/* ---- starting and ending ---- */

/* The first thing that is wrong with any rank, the same on all of them. */
static Status judge(const Hello *hello, int size, Error *err) {
    for (int r = 0; r < size; r++) {
        if (hello[r].status == OK) continue;
        if (r == 0) return fail(err, hello[r].status, "%s", hello[r].error.text);
        return fail(err, hello[r].status, "rank %d on %s: %s", r, hello[r].host,
                    hello[r].error.text);
    }
    for (int r = 1; r < size; r++) {
        if (strcmp(hello[r].card.version, hello[0].card.version) != 0)
            return fail(err, ERR_INPUT, "rank %d on %s is kvlab %s, rank 0 is %s", r, hello[r].host,
                        hello[r].card.version, hello[0].card.version);
        if (hello[r].card.study != hello[0].card.study)
            return fail(err, ERR_INPUT, "rank %d on %s reads another study than rank 0", r,
                        hello[r].host);
    }
    return OK;
}

static Status fill_ranks(Ranks *ranks, const Hello *hello, RankCard *card, Error *err) {
    TRY(BUFFER(&ranks->rank, (size_t)ranks->size, "ranks", err));
    size_t count = 0;
    for (int r = 0; r < ranks->size; r++) {
        ranks->rank[r] = (Rank){ .number = r, .first = count, .workers = hello[r].workers };
        ranks->rank[r].heard_s = clock_s();
        count += hello[r].workers;
        if (hello[r].card.memory_bytes < card->memory_bytes)
            card->memory_bytes = hello[r].card.memory_bytes;
    }
    TRY(BUFFER(&ranks->member, count, "ranks", err));
    for (int r = 0; r < ranks->size; r++)
        for (size_t w = 0; w < ranks->rank[r].workers; w++) {
            CrewMember *member = &ranks->member[ranks->rank[r].first + w];
            snprintf(member->host, sizeof member->host, "%s", hello[r].host);
            member->rank = r;
        }
    ranks->crew = (Crew){ .count = count,
                          .member = ranks->member,
                          .send = send_to,
                          .wait = wait_for,
                          .replace = replace,
                          .halt = halt };
    return OK;
}

/* Everyone hears what everyone has to say. */
static Status meet(Ranks *ranks, const Hello *own, RankCard *card, Error *err) {
    Hello *hello = NULL;
    TRY(BUFFER(&hello, (size_t)ranks->size, "ranks", err));
    MPI_Allgather(own, sizeof *own, MPI_BYTE, hello, sizeof *hello, MPI_BYTE, MPI_COMM_WORLD);
    Status status = judge(hello, ranks->size, err);
    if (status != OK && ranks->number) err->text[0] = '\0'; /* rank 0 says it */
    if (status == OK) status = fill_ranks(ranks, hello, card, err);
    buffer_free(hello);
    return status;
}

Status ranks_open(Ranks **ranks, Workers *workers, RankCard *card, double lost_seconds,
                  Status status, Error *err) {
    Ranks *draft = NULL;
    Hello own = { .card = *card, .status = status };
    if (status != OK) own.error = *err;
    gethostname(own.host, sizeof own.host - 1);
    MPI_Init(NULL, NULL);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    TRY(BUFFER(&draft, 1, "ranks", err));
    MPI_Comm_size(MPI_COMM_WORLD, &draft->size);
    MPI_Comm_rank(MPI_COMM_WORLD, &draft->number);
    draft->workers = workers;
    draft->lost_seconds = lost_seconds;
    if (workers) {
        draft->local = workers_crew(workers);
        own.workers = draft->local->count;
        workers_name(workers, own.host, draft->number);
    }
    const Status met = meet(draft, &own, card, err);
    if (met != OK)
        ranks_close(draft);
    else
        *ranks = draft;
    return met;
}

Crew *ranks_crew(Ranks *ranks) {
    return &ranks->crew;
}

/* MPI ends in order when all ranks do so together. Where one is gone each leaves as it is. */
void ranks_close(Ranks *ranks) {
    for (int r = 1; ranks->rank && ranks->number == 0 && r < ranks->size; r++)
        ranks->incomplete |= ranks->rank[r].gone;
    for (int r = 1; ranks->rank && ranks->number == 0 && r < ranks->size; r++)
        if (!ranks->rank[r].gone)
            post_head(ranks, r, ranks->incomplete ? ABOUT_LEAVE : ABOUT_END, 0);
    for (double until = clock_s() + 1; ranks->sent_count && clock_s() < until;) reap(ranks);
    if (!ranks->incomplete) MPI_Finalize();
    for (size_t i = 0; !ranks->incomplete && i < ranks->sent_count; i++)
        buffer_free(ranks->sent[i].bytes);
    buffer_free(ranks->sent);
    buffer_free(ranks->rank);
    buffer_free(ranks->member);
    buffer_free(ranks);
}
