/* fuzz_capacity.c -- any text is a device, an engine or a trace, or one line of error. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "hardware.h"
#include "traces.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int holds, const char *what, const char *text) {
    if (holds) return;
    fprintf(stderr, "%s:\n%s\n", what, text);
    abort();
}

static void check(Status status, const Error *err) {
    if (status != OK) require(err->text[0] && !strchr(err->text, '\n'), "not one line", err->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    Hardware hardware;
    Engine engine;
    Trace trace;
    Error err = { 0 };
    Status status = hardware_parse_file(&hardware, "h.yaml", text, size, &err);
    check(status, &err);
    if (status == OK)
        require(hardware.memory_bytes > 0 && hardware.usable_bytes > 0, "no memory", hardware.name);
    status = engine_parse(&engine, "e.yaml", text, size, &err);
    check(status, &err);
    if (status == OK) require(engine.block_tokens > 0, "no block", engine.title);
    status = trace_parse(&trace, "t", text, size, &err);
    check(status, &err);
    if (status == OK) trace_free(&trace);
    return 0;
}
