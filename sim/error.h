/* error.h -- failure as a value: a status that decides the exit code, and a text with a place.
 *
 * What can fail returns Status and takes `Error *err` last; what cannot returns its value.
 * Out-parameters are written once, on success. An Error holds arrays: nothing to free. Only
 * main.c prints it. */
#ifndef KVLAB_ERROR_H
#define KVLAB_ERROR_H

typedef enum {
    OK = 0,
    ERR_INPUT,  /* what the user gave is wrong: exit code 2 */
    ERR_MACHINE /* the machine failed (I/O, memory): exit code 1 */
} Status;

typedef struct {
    Status status;
    char
        text[1024]; /* one line, without a newline; `file:line:column: ` first where there is one */
} Error;

/* Fills err with a formatted line (control characters replaced by '?') and returns status. */
Status fail(Error *err, Status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for wrong input with a place: `file:line:column: text`. line 0 leaves out both numbers,
 * column 0 the column. Returns ERR_INPUT. */
Status fail_at(Error *err, const char *file, unsigned long line, unsigned long column,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Passes a failure up. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        const Status try_status_ = (call);                                                         \
        if (try_status_ != OK) return try_status_;                                                 \
    } while (0)

#endif
