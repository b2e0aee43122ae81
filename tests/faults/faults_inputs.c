/* faults_inputs.c -- files made to hurt who reads them: each is answered within seconds and little
 * memory, by one line. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faults.h"

enum { DEEP = 100000 };
static const double SECONDS_MOST = 10;
static const size_t PEAK_MOST = (size_t)1 << 30;

/* The program by these arguments must refuse, soon and small. */
static void refused(const char *command, const char *path, const char *extra, const char *value) {
    const Trial t = { .arguments = { command, path, extra, value }, .limit_s = SECONDS_MOST };
    const Outcome o = trial_run(&t);
    counts.inputs++;
    if (!ended_well(&t, &o)) return;
    if (o.code == 0) complain(&t, &o, "took it");
    if (o.peak_bytes > PEAK_MOST) complain(&t, &o, "took too much memory");
}

/* The same, but what it says of it is its own affair as long as it ends well. */
static void answered(const char *command, const char *path, const char *extra, const char *value) {
    const Trial t = { .arguments = { command, path, extra, value }, .limit_s = 6 * SECONDS_MOST };
    const Outcome o = trial_run(&t);
    counts.inputs++;
    if (ended_well(&t, &o) && o.peak_bytes > PEAK_MOST) complain(&t, &o, "took too much memory");
}

/* before, then a piece many times, then after. */
static void write_many(const char *name, const char *before, const char *piece, size_t times,
                       const char *after) {
    FILE *file = fopen(path_of(name), "wb");
    if (!file) abort();
    fputs(before, file);
    for (size_t i = 0; i < times; i++) fputs(piece, file);
    fputs(after, file);
    if (fclose(file)) abort();
}

/* A safetensors file whose header says that it has `length` bytes. */
static void write_header(const char *name, uint64_t length, const char *header) {
    char bytes[4096];
    for (int i = 0; i < 8; i++) bytes[i] = (char)(length >> (8 * i));
    const size_t size = strlen(header);
    memcpy(bytes + 8, header, size);
    write_file(name, bytes, 8 + size);
}

static void try_safetensors(void) {
    static const uint64_t lengths[] = {
        (uint64_t)1 << 63, UINT64_MAX, ((uint64_t)1 << 63) - 1, UINT64_MAX - 7, 1u << 31, 100, 0
    };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        write_header("x.safetensors", lengths[i], "{}");
        refused("forward", path_of("x.safetensors"), NULL, NULL);
    }
    static const char *const headers[] = {
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,2],\"data_offsets\":[0,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[18446744073709551608,8]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[1e308],\"data_offsets\":[0,8]}}",
        "{\"a\":[[[[[[[[[[1]]]]]]]]]]}",
        "null",
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        write_header("x.safetensors", strlen(headers[i]), headers[i]);
        refused("forward", path_of("x.safetensors"), NULL, NULL);
    }
    write_many("deep.json", "{\"a\":", "[", DEEP, "");
    char *deep = malloc(DEEP + 16);
    if (!deep) abort();
    memset(deep, '[', DEEP + 8);
    for (int i = 0; i < 8; i++) deep[i] = (char)((uint64_t)DEEP >> (8 * i));
    write_file("x.safetensors", deep, DEEP + 8);
    free(deep);
    refused("forward", path_of("x.safetensors"), NULL, NULL);
}

static void try_json(void) {
    char set[320];
    static const char *const pieces[] = { "[",   "{\"a\":",   "{\"text_config\":",
                                          "[0,", "\"\\u0000", "9" };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        write_many("config.json", "", pieces[i], DEEP, "");
        refused("plan", path_of("config.json"), NULL, NULL);
        write_many("s.yaml", "model: ", path_of("config.json"), 1, "\n");
        refused("check", path_of("s.yaml"), NULL, NULL);
    }
    write_many("config.json", "{\"a\":\"", "0123456789abcdef", (size_t)8 << 20, "\"}");
    refused("plan", path_of("config.json"), NULL, NULL);
    snprintf(set, sizeof set, "model=%s", path_of("config.json"));
    write_many("s.yaml", "model: Llama-3.2-1B\n", "", 0, "");
    refused("check", path_of("s.yaml"), "--set", set);
}

/* Each line nine times the one before: 9^9 values if they were written out. */
static void write_bomb(const char *name) {
    FILE *file = fopen(path_of(name), "w");
    if (!file) abort();
    fputs("a0: &a0 [x, x, x, x, x, x, x, x, x]\n", file);
    for (int i = 1; i < 10; i++) {
        fprintf(file, "a%d: &a%d [", i, i);
        for (int j = 0; j < 9; j++) fprintf(file, "%s*a%d", j ? ", " : "", i - 1);
        fputs("]\n", file);
    }
    fputs("model: *a9\ncontenders: *a9\n", file);
    if (fclose(file)) abort();
}

static void try_yaml(void) {
    write_bomb("s.yaml");
    refused("check", path_of("s.yaml"), NULL, NULL);
    static const char *const pieces[] = { "[",  "{a: ", "- ",     "&a ",      "!!str ", "? ",
                                          "\"", "#",    "a: b\n", "--- {}\n", "\t" };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        write_many("s.yaml", "model: ", pieces[i], DEEP, "");
        refused("check", path_of("s.yaml"), NULL, NULL);
    }
    write_many("s.yaml", "model: Llama-3.2-1B\ncontenders: [mha", ", mha", DEEP, "]\n");
    refused("check", path_of("s.yaml"), NULL, NULL);
    write_many("s.yaml", "title: ", "0123456789abcdef", (size_t)8 << 20, "\n");
    refused("check", path_of("s.yaml"), NULL, NULL);
}

/* Paths that lead nowhere, round, or to what is no file. */
static void try_paths(void) {
    unlink(path_of("a.yaml"));
    unlink(path_of("b.yaml"));
    if (symlink(path_of("a.yaml"), path_of("b.yaml")) ||
        symlink(path_of("b.yaml"), path_of("a.yaml")))
        abort();
    const char *const paths[] = {
        path_of("a.yaml"), "/dev/zero", "/dev/full", "/", "/nowhere", ""
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        refused("check", paths[i], NULL, NULL);
        refused("run", paths[i], "--out", path_of("out"));
        refused("forward", paths[i], NULL, NULL);
        refused("plan", paths[i], NULL, NULL);
        refused("report", paths[i], NULL, NULL);
        refused("merge", paths[i], "--out", path_of("out"));
    }
    write_many("s.yaml", "base: s.yaml\nmodel: Llama-3.2-1B\n", "", 0, "");
    refused("check", path_of("s.yaml"), NULL, NULL);
    write_many("s.yaml", "model: Llama-3.2-1B\n", "", 0, "");
    refused("run", path_of("s.yaml"), "--out", path_of("a.yaml"));
    refused("run", path_of("s.yaml"), "--out", "/dev/full");
    refused("run", path_of("s.yaml"), "--out", "/proc/1/x");
}

/* Block tables and caches of sizes that only a typing error asks for. */
static void try_sizes(void) {
    static const char *const studies[] = {
        "bytes: { tokens: 16M }\ncontenders: mha\ncache: { block_tokens: 1 }\n"
        "limits: { memory: 256MiB }\n",
        "bytes: { tokens: 1 }\ncache: { block_tokens: 65536 }\nlimits: { memory: 64MiB }\n",
        "phases: decode\ndecode: { context: 16M, sequences: 64 }\nlimits: { memory: 256MiB }\n",
        "phases: prefill\nprefill: { tokens: 1M, sequences: 1024 }\nlimits: { memory: 256MiB }\n",
        "phases: error\nerror: { tokens: 65536, calibration_tokens: 1M }\n"
        "limits: { memory: 256MiB }\n",
        "phases: error\nerror: { tokens: 65536, calibration_tokens: 1M }\n",
        "phases: projections\nprojections: { tokens: 1M }\nlimits: { memory: 256MiB }\n",
    };
    for (size_t i = 0; i < sizeof studies / sizeof *studies; i++) {
        remove_path("out");
        write_many("s.yaml", "model: Llama-3.1-405B\nmeasure: { min_seconds: 0 }\n", studies[i], 1,
                   "");
        answered("run", path_of("s.yaml"), "--out", path_of("out"));
    }
}

void fault_inputs(void) {
    try_safetensors();
    try_json();
    try_yaml();
    try_paths();
    try_sizes();
}
