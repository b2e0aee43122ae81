/* traces.c -- CSV and JSONL request traces; see traces.h. */
#include "traces.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "json.h"
#include "quantity.h"

enum { COLUMNS_MOST = 64, LINE_MOST = 1 << 22, FILE_MOST = 1 << 29 };

/* One format: names of its columns or keys, NULL where it has none. */
typedef struct {
    const char *name;
    bool json;
    const char *prompt, *output, *weight, *arrival;
    double arrival_seconds; /* one unit of the arrival in seconds; 0: a wall clock */
} Format;

static const Format formats[] = {
    { "azure", false, "ContextTokens", "GeneratedTokens", NULL, "TIMESTAMP", 0 },
    { "vidur", false, "num_prefill_tokens", "num_decode_tokens", NULL, NULL, 1 },
    { "burstgpt", false, "Request tokens", "Response tokens", NULL, "Timestamp", 1 },
    { "histogram", false, "tokens", NULL, "count", NULL, 1 },
    { "mooncake", true, "input_length", "output_length", NULL, "timestamp", 1e-3 },
    { "llmservingsim", true, "input_toks", "output_toks", NULL, "arrival_time_ns", 1e-9 },
};
enum { FORMATS = sizeof formats / sizeof *formats };

typedef struct {
    const char *name;
    unsigned long line;
    const Format *format;
    size_t prompt, output, weight, arrival; /* columns; COLUMNS_MOST for none */
    double first_arrival;
    Trace trace;
    size_t room;
} Reader;

static Status wrong(const Reader *r, const char *what, const char *value, Error *err) {
    return fail_at(err, r->name, r->line, 0,
                   "%s: %.60s: must be a whole number from 0 to %d tokens", what, value,
                   TRACE_TOKENS_MOST);
}

static Status keep(Reader *r, TraceRow row, Error *err) {
    TraceRow *grown = buffer_grown(r->trace.row, &r->room, r->trace.count, r->trace.count + 1,
                                   sizeof *grown, "a trace", err);
    if (!grown) return ERR_MACHINE;
    r->trace.row = grown;
    if (!r->trace.count) r->first_arrival = row.arrival_s;
    row.arrival_s -= r->first_arrival;
    r->trace.row[r->trace.count++] = row;
    return OK;
}

/* ---- CSV ---- */

/* Cuts a line in place at its commas. */
static size_t cut(char *line, char *field[COLUMNS_MOST]) {
    size_t count = 0;
    for (char *at = line; at && count < COLUMNS_MOST;) {
        field[count++] = at;
        at = strchr(at, ',');
        if (at) *at++ = '\0';
    }
    return count;
}

static size_t column(char *const *field, size_t count, const char *name) {
    for (size_t i = 0; name && i < count; i++)
        if (strcmp(field[i], name) == 0) return i;
    return COLUMNS_MOST;
}

/* "2023-11-16 18:15:46.6805900": seconds of the day, days counted on from an arbitrary one. */
static bool clock_seconds(const char *text, double *out) {
    int year, month, day, hour, minute;
    double second;
    if (sscanf(text, "%4d-%2d-%2d %2d:%2d:%lf", &year, &month, &day, &hour, &minute, &second) != 6)
        return false;
    const int shifted = month <= 2 ? year - 1 : year;
    const long days = 365L * shifted + shifted / 4 - shifted / 100 + shifted / 400 +
                      (153L * ((month + 9) % 12) + 2) / 5 + day;
    *out = 86400.0 * (double)days + 3600.0 * hour + 60.0 * minute + second;
    return isfinite(*out);
}

static Status take_tokens(const Reader *r, const char *what, const char *text, uint32_t *out,
                          Error *err) {
    uint64_t value;
    if (!quantity_count(text, &value) || value > TRACE_TOKENS_MOST)
        return wrong(r, what, text, err);
    *out = (uint32_t)value;
    return OK;
}

static Status read_csv_row(Reader *r, char *line, Error *err) {
    char *field[COLUMNS_MOST];
    const size_t count = cut(line, field);
    const Format *f = r->format;
    TraceRow row = { .weight = 1 };
    const size_t needed[] = { r->prompt, f->output ? r->output : 0, f->weight ? r->weight : 0 };
    for (size_t i = 0; i < 3; i++)
        if (needed[i] >= count)
            return fail_at(err, r->name, r->line, 0, "%zu columns, where the first line names more",
                           count);
    TRY(take_tokens(r, f->prompt, field[r->prompt], &row.prompt_tokens, err));
    if (f->output) TRY(take_tokens(r, f->output, field[r->output], &row.output_tokens, err));
    if (f->weight &&
        (!quantity_real(field[r->weight], &row.weight) || !(row.weight >= 0) || row.weight > 1e15))
        return fail_at(err, r->name, r->line, 0, "%s: %.60s: must be a number of 0 or more",
                       f->weight, field[r->weight]);
    if (f->arrival && r->arrival < count) {
        const bool good = f->arrival_seconds > 0 ? quantity_real(field[r->arrival], &row.arrival_s)
                                                 : clock_seconds(field[r->arrival], &row.arrival_s);
        if (!good)
            return fail_at(err, r->name, r->line, 0, "%s: %.60s: no time that can be read",
                           f->arrival, field[r->arrival]);
    }
    return keep(r, row, err);
}

/* The format whose columns are all there. */
static Status read_header(Reader *r, char *line, Error *err) {
    char *field[COLUMNS_MOST];
    const size_t count = cut(line, field);
    for (size_t i = 0; i < FORMATS; i++) {
        const Format *f = &formats[i];
        if (f->json) continue;
        r->prompt = column(field, count, f->prompt);
        r->output = column(field, count, f->output);
        r->weight = column(field, count, f->weight);
        r->arrival = column(field, count, f->arrival);
        if (r->prompt == COLUMNS_MOST || (f->output && r->output == COLUMNS_MOST) ||
            (f->weight && r->weight == COLUMNS_MOST))
            continue;
        r->format = f;
        return OK;
    }
    return fail_at(err, r->name, r->line, 0,
                   "no known trace: the first line must name ContextTokens and GeneratedTokens, "
                   "num_prefill_tokens and num_decode_tokens, Request tokens and Response tokens, "
                   "or tokens and count");
}

/* ---- JSONL ---- */

static Status take_number(const Reader *r, const Json *json, const char *key, uint32_t *out,
                          Error *err) {
    long long value;
    if (!json_whole(json_get(json, key), &value) || value < 0 || value > TRACE_TOKENS_MOST)
        return fail_at(err, r->name, r->line, 0, "%s: must be a whole number from 0 to %d tokens",
                       key, TRACE_TOKENS_MOST);
    *out = (uint32_t)value;
    return OK;
}

static Status read_object(Reader *r, const Json *json, Error *err) {
    for (size_t i = 0; !r->format && i < FORMATS; i++)
        if (formats[i].json && json_get(json, formats[i].prompt)) r->format = &formats[i];
    if (!r->format)
        return fail_at(err, r->name, r->line, 0,
                       "no known trace: a line must hold input_length and output_length, or "
                       "input_toks and output_toks");
    const Format *f = r->format;
    TraceRow row = { .weight = 1 };
    TRY(take_number(r, json, f->prompt, &row.prompt_tokens, err));
    TRY(take_number(r, json, f->output, &row.output_tokens, err));
    double arrival = 0;
    if (json_number(json_get(json, f->arrival), &arrival))
        row.arrival_s = arrival * f->arrival_seconds;
    return keep(r, row, err);
}

static Status read_json_row(Reader *r, const char *line, size_t length, Error *err) {
    Json *json = NULL;
    Error why;
    if (json_parse(&json, r->name, line, length, &why) != OK)
        return fail_at(err, r->name, r->line, 0, "no JSON object on one line");
    const Status status = json_is_object(json)
                              ? read_object(r, json, err)
                              : fail_at(err, r->name, r->line, 0, "no JSON object on one line");
    json_free(json);
    return status;
}

/* ---- both ---- */

static Status read_line(Reader *r, char *line, size_t length, Error *err) {
    while (length && (line[length - 1] == '\r' || line[length - 1] == ' ')) line[--length] = '\0';
    if (!length) return OK;
    if (memchr(line, '\0', length)) return fail_at(err, r->name, r->line, 0, "a NUL character");
    if (line[0] == '{') return read_json_row(r, line, length, err);
    if (!r->format) return read_header(r, line, err);
    if (r->format->json) return fail_at(err, r->name, r->line, 0, "no JSON object on one line");
    return read_csv_row(r, line, err);
}

static Status finish(Reader *r, Status status, Trace *trace, Error *err) {
    double weight = 0;
    for (size_t i = 0; i < r->trace.count; i++) weight += r->trace.row[i].weight;
    if (status == OK && !(weight > 0)) status = fail_at(err, r->name, 0, 0, "holds no request");
    if (status != OK) {
        trace_free(&r->trace);
        return status;
    }
    snprintf(r->trace.format, sizeof r->trace.format, "%s", r->format->name);
    *trace = r->trace;
    return OK;
}

Status trace_parse(Trace *trace, const char *name, const char *text, size_t length, Error *err) {
    Reader r = { .name = name };
    char *copy = NULL;
    Status status = BUFFER(&copy, length + 1, "a trace", err);
    if (status == OK) memcpy(copy, text, length);
    for (char *at = copy; status == OK && at < copy + length;) {
        char *end = memchr(at, '\n', (size_t)(copy + length - at));
        const size_t line = (size_t)((end ? end : copy + length) - at);
        at[line] = '\0';
        r.line++;
        status = line > LINE_MOST ? fail_at(err, name, r.line, 0, "a line is too long")
                                  : read_line(&r, at, line, err);
        at += line + 1;
    }
    buffer_free(copy);
    return finish(&r, status, trace, err);
}

Status trace_read(Trace *trace, const char *path, Error *err) {
    FILE *file = fopen(path, "rb");
    if (!file) return fail(err, ERR_INPUT, "%s: %s", path, strerror(errno));
    char *text = NULL;
    size_t room = 0, used = 0;
    Status status = OK;
    for (size_t got = 1; status == OK && got;) {
        char *grown = buffer_grown(text, &room, used, used + (1 << 16), 1, "a trace", err);
        if (!grown) {
            status = ERR_MACHINE;
            break;
        }
        text = grown;
        got = fread(text + used, 1, 1 << 16, file);
        used += got;
        if (used > FILE_MOST) status = fail_at(err, path, 0, 0, "larger than %d bytes", FILE_MOST);
    }
    if (status == OK && ferror(file)) status = fail(err, ERR_INPUT, "%s: cannot be read", path);
    fclose(file);
    if (status == OK) status = trace_parse(trace, path, text ? text : "", used, err);
    buffer_free(text);
    return status;
}

void trace_free(Trace *trace) {
    buffer_free(trace->row);
    *trace = (Trace){ 0 };
}
