/* message.h -- what processes of one run tell each other: a kind and bytes, put and taken in the
 * same order by the same program, so values travel as they lie in memory.
 *
 * A stream carries frames | size | kind | bytes |; taking from a frame never reads beyond it. */
#ifndef KVLAB_MESSAGE_H
#define KVLAB_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

typedef struct {
    uint32_t kind;
    char *bytes;
    size_t size, capacity;
    size_t at;   /* taken so far */
    bool failed; /* memory was refused, or more was taken than there is */
} Message;

/* Makes it an empty message of that kind; its room stays. */
void message_start(Message *message, uint32_t kind);
void message_put(Message *message, const void *value, size_t size);
/* Takes the next `size` bytes; zeroes and `failed` where there are not as many. */
void message_take(Message *message, void *value, size_t size);
/* The next `size` bytes where they lie, NULL and `failed` where there are not as many. */
const void *message_view(Message *message, size_t size);
void message_free(Message *message);

/* Frames are bytes first come: room to be filled from a stream, whole messages out of it. */
typedef struct {
    char *bytes;
    size_t size, capacity;
} Inbox;

enum { MESSAGE_MOST = 1 << 28 }; /* bytes; a larger frame is a broken one */

/* Room for at least `room` more bytes; the caller fills it and adds to size. */
Status inbox_room(Inbox *inbox, size_t room, Error *err);
/* Takes the oldest whole frame; *found is false while there is none. Errors: ERR_MACHINE for a
 * frame that cannot be, or for lack of memory. */
Status inbox_take(Inbox *inbox, Message *message, bool *found, Error *err);
void inbox_free(Inbox *inbox);

/* Writes a frame into a socket, waiting as long as it takes. Errors: ERR_MACHINE, also when the
 * other end is gone. */
Status message_write(int socket, const Message *message, Error *err);

#endif
