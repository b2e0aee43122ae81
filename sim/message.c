/* message.c -- frames between processes of one run; see message.h. */
#include "message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "buffer.h"

typedef struct {
    uint32_t size, kind;
} Head;

void message_start(Message *message, uint32_t kind) {
    message->kind = kind;
    message->size = message->at = 0;
    message->failed = false;
}

void message_put(Message *message, const void *value, size_t size) {
    Error err;
    if (size == 0 || message->failed) return;
    char *grown = buffer_grown(message->bytes, &message->capacity, message->size,
                               message->size + size, 1, "a message", &err);
    message->failed = !grown || message->size + size > MESSAGE_MOST;
    if (grown) message->bytes = grown;
    if (message->failed) return;
    memcpy(message->bytes + message->size, value, size);
    message->size += size;
}

const void *message_view(Message *message, size_t size) {
    if (message->failed || size > message->size - message->at) {
        message->failed = true;
        return NULL;
    }
    const void *bytes = message->bytes + message->at;
    message->at += size;
    return bytes;
}

void message_take(Message *message, void *value, size_t size) {
    if (size == 0) return;
    const void *bytes = message_view(message, size);
    if (bytes)
        memcpy(value, bytes, size);
    else
        memset(value, 0, size);
}

void message_free(Message *message) {
    buffer_free(message->bytes);
    *message = (Message){ 0 };
}

Status inbox_room(Inbox *inbox, size_t room, Error *err) {
    char *grown = buffer_grown(inbox->bytes, &inbox->capacity, inbox->size, inbox->size + room, 1,
                               "messages", err);
    if (!grown) return ERR_MACHINE;
    inbox->bytes = grown;
    return OK;
}

Status inbox_take(Inbox *inbox, Message *message, bool *found, Error *err) {
    Head head;
    *found = false;
    if (inbox->size < sizeof head) return OK;
    memcpy(&head, inbox->bytes, sizeof head);
    if (head.size > MESSAGE_MOST)
        return fail(err, ERR_MACHINE, "a message of %u bytes between processes", head.size);
    const size_t whole = sizeof head + head.size;
    if (inbox->size < whole) return OK;
    message_start(message, head.kind);
    message_put(message, inbox->bytes + sizeof head, head.size);
    if (message->failed) return fail(err, ERR_MACHINE, "out of memory: a message");
    inbox->size -= whole;
    memmove(inbox->bytes, inbox->bytes + whole, inbox->size);
    *found = true;
    return OK;
}

void inbox_free(Inbox *inbox) {
    buffer_free(inbox->bytes);
    *inbox = (Inbox){ 0 };
}

static Status write_all(int socket, const char *bytes, size_t size, Error *err) {
    while (size) {
        const ssize_t sent = send(socket, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return fail(err, ERR_MACHINE, "a process is gone: %s", strerror(errno));
        bytes += sent;
        size -= (size_t)sent;
    }
    return OK;
}

Status message_write(int socket, const Message *message, Error *err) {
    if (message->failed) return fail(err, ERR_MACHINE, "out of memory: a message");
    const Head head = { (uint32_t)message->size, message->kind };
    TRY(write_all(socket, (const char *)&head, sizeof head, err));
    return write_all(socket, message->bytes, message->size, err);
}
