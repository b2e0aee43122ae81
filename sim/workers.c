/* workers.c -- worker processes, each at one end of a socket pair; see workers.h. */
#define _DEFAULT_SOURCE
#include "workers.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "buffer.h"

/* A worker ends without what a program's end does; its leaks are looked for all the same. */
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#define CHECK_LEAKS() __lsan_do_leak_check()
#else
#define CHECK_LEAKS()
#endif

enum { READ_ROOM = 64 * 1024 };

typedef struct {
    pid_t pid;  /* 0: no process */
    int socket; /* -1: none */
    Inbox inbox;
} Worker;

struct Workers {
    Crew crew; /* first: a Crew of ours is these workers */
    Worker *worker;
    CrewMember *member;
    struct pollfd *poll;
    size_t turn; /* whose inbox is looked into first: none waits for ever */
    WorkerMain main;
    void *context;
};

static Workers *of(Crew *crew) {
    return (Workers *)crew;
}

/* ---- the processes ---- */

/* What the new process does; it never returns. Signals are for its parent, with which it ends. */
static void live(Workers *workers, int socket, pid_t parent) {
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (getppid() != parent) _exit(1);
    for (size_t i = 0; i < workers->crew.count; i++)
        if (workers->worker[i].socket >= 0) close(workers->worker[i].socket);
    workers->main(workers->context, socket);
    CHECK_LEAKS();
    _exit(0);
}

static Status start(Workers *workers, Worker *worker, Error *err) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return fail(err, ERR_MACHINE, "cannot start a worker: %s", strerror(errno));
    const pid_t parent = getpid();
    fflush(NULL); /* what is in a buffer is written once */
    const pid_t pid = fork();
    if (pid == 0) {
        close(pair[0]);
        live(workers, pair[1], parent);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return fail(err, ERR_MACHINE, "cannot start a worker: %s", strerror(errno));
    }
    worker->pid = pid;
    worker->socket = pair[0];
    worker->inbox.size = 0;
    return OK;
}

/* Waits for the process and says how it ended. */
static void bury(Worker *worker, char *reason, size_t size) {
    int status = 0;
    while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR) continue;
    if (WIFSIGNALED(status))
        snprintf(reason, size, "its process died of signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(reason, size, "its process ended with code %d", WEXITSTATUS(status));
    close(worker->socket);
    worker->socket = -1;
    worker->pid = 0;
}

/* ---- as a crew ---- */

static Status send_to(Crew *crew, size_t i, const Message *message, Error *err) {
    const Worker *worker = &of(crew)->worker[i];
    Error gone;
    if (message->failed) return fail(err, ERR_MACHINE, "out of memory: a message");
    if (worker->socket >= 0) (void)message_write(worker->socket, message, &gone);
    return OK;
}

/* Takes what a socket has; *ended at its end. */
static Status receive(Worker *worker, bool *ended, Error *err) {
    TRY(inbox_room(&worker->inbox, READ_ROOM, err));
    const ssize_t got =
        recv(worker->socket, worker->inbox.bytes + worker->inbox.size, READ_ROOM, MSG_DONTWAIT);
    *ended = got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN);
    if (got > 0) worker->inbox.size += (size_t)got;
    return OK;
}

/* The oldest whole message of any worker. */
static Status find_message(Workers *workers, CrewEvent *event, Message *message, Error *err) {
    for (size_t n = 0; n < workers->crew.count; n++) {
        const size_t i = workers->turn++ % workers->crew.count;
        bool found;
        TRY(inbox_take(&workers->worker[i].inbox, message, &found, err));
        if (!found) continue;
        *event = (CrewEvent){ .kind = CREW_MESSAGE, .worker = i };
        return OK;
    }
    return OK;
}

static size_t list_sockets(Workers *workers) {
    size_t open = 0;
    for (size_t i = 0; i < workers->crew.count; i++) {
        const int socket = workers->worker[i].socket;
        workers->poll[i] = (struct pollfd){ .fd = socket, .events = POLLIN };
        open += socket >= 0;
    }
    return open;
}

static Status wait_for(Crew *crew, double seconds, CrewEvent *event, Message *message, Error *err) {
    Workers *workers = of(crew);
    *event = (CrewEvent){ .kind = CREW_NOTHING };
    TRY(find_message(workers, event, message, err));
    if (event->kind != CREW_NOTHING || !list_sockets(workers)) return OK;
    const int ready = poll(workers->poll, (nfds_t)crew->count, (int)(seconds * 1000));
    if (ready < 0 && errno != EINTR)
        return fail(err, ERR_MACHINE, "cannot wait for workers: %s", strerror(errno));
    for (size_t i = 0; ready > 0 && i < crew->count; i++) {
        bool ended = false;
        if (!workers->poll[i].revents) continue;
        TRY(receive(&workers->worker[i], &ended, err));
        if (!ended || event->kind == CREW_LOST) continue;
        *event = (CrewEvent){ .kind = CREW_LOST, .worker = i };
    }
    /* What has been said is heard first: a socket at its end will be found so again. */
    TRY(find_message(workers, event, message, err));
    if (event->kind == CREW_LOST)
        bury(&workers->worker[event->worker], event->reason, sizeof event->reason);
    return OK;
}

static Status replace(Crew *crew, size_t i, Error *err) {
    return start(of(crew), &of(crew)->worker[i], err);
}

static void halt(Crew *crew) {
    for (size_t i = 0; i < crew->count; i++)
        if (of(crew)->worker[i].pid) kill(of(crew)->worker[i].pid, SIGKILL);
}

/* ---- starting and ending ---- */

static Status allocate(Workers *workers, size_t count, Error *err) {
    TRY(BUFFER(&workers->worker, count, "workers", err));
    TRY(BUFFER(&workers->member, count, "workers", err));
    TRY(BUFFER(&workers->poll, count, "workers", err));
    for (size_t i = 0; i < count; i++) workers->worker[i].socket = -1;
    workers->crew = (Crew){ .count = count,
                            .member = workers->member,
                            .send = send_to,
                            .wait = wait_for,
                            .replace = replace,
                            .halt = halt };
    return OK;
}

Status workers_start(Workers **workers, size_t count, WorkerMain main, void *context, Error *err) {
    Workers *draft = NULL;
    char host[64] = "";
    TRY(BUFFER(&draft, 1, "workers", err));
    draft->main = main;
    draft->context = context;
    Status status = allocate(draft, count, err);
    if (status == OK) {
        gethostname(host, sizeof host - 1);
        workers_name(draft, host, 0);
    }
    for (size_t i = 0; status == OK && i < count; i++)
        status = start(draft, &draft->worker[i], err);
    if (status == OK)
        *workers = draft;
    else
        workers_free(draft);
    return status;
}

void workers_free(Workers *workers) {
    char reason[96];
    if (!workers) return;
    for (size_t i = 0; workers->worker && i < workers->crew.count; i++) {
        if (workers->worker[i].socket >= 0) shutdown(workers->worker[i].socket, SHUT_WR);
        if (workers->worker[i].pid) bury(&workers->worker[i], reason, sizeof reason);
        inbox_free(&workers->worker[i].inbox);
    }
    buffer_free(workers->worker);
    buffer_free(workers->member);
    buffer_free(workers->poll);
    buffer_free(workers);
}

Crew *workers_crew(Workers *workers) {
    return &workers->crew;
}

void workers_name(Workers *workers, const char *host, int rank) {
    for (size_t i = 0; i < workers->crew.count; i++) {
        snprintf(workers->member[i].host, sizeof workers->member[i].host, "%s", host);
        workers->member[i].rank = rank;
    }
}
