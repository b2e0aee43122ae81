/* tiers.h -- what tests of the kernel table share: the tiers as subjects, numbers, and memory that
 * ends at a page no one may touch.
 *
 * Where the machine has no AVX-512 its tiers run emulated, if SIMDe was there to build them with.
 */
#ifndef KVLAB_TIERS_H
#define KVLAB_TIERS_H

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "floats.h"
#include "kernel.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#ifdef KVLAB_EMULATED_AVX512
void kernels_fill_avx512_emulated(Kernels *kernels);
void kernels_fill_avx512bf16_emulated(Kernels *kernels);
void kernels_fill_avx512vnni_emulated(Kernels *kernels);
#endif

/* The tiers that fill the whole table, then those that add tiles to it. */
static const char *const subjects[] = { "portable",
                                        "avx2",
                                        "avx512",
                                        "avx512 emulated",
                                        "neon",
                                        "avx512bf16",
                                        "avx512vnni",
                                        "avx512bf16 emulated",
                                        "avx512vnni emulated" };
enum { SUBJECTS = 5, TILE_SUBJECTS = sizeof subjects / sizeof *subjects };

/* The table of a subject; skips the test where it cannot run. */
static inline Kernels table_of(size_t subject) {
    Kernels kernels = kernels_select(0);
    for (size_t i = 0; i < kernel_tier_count; i++) {
        if (strcmp(kernel_tiers[i].name, subjects[subject]) == 0 && kernel_tiers[i].available())
            return kernels_select(kernel_tiers[i].bit);
    }
#ifdef KVLAB_EMULATED_AVX512
    static const struct {
        const char *name;
        void (*fill)(Kernels *kernels);
    } emulated[] = { { "avx512 emulated", kernels_fill_avx512_emulated },
                     { "avx512bf16 emulated", kernels_fill_avx512bf16_emulated },
                     { "avx512vnni emulated", kernels_fill_avx512vnni_emulated } };
    for (size_t i = 0; i < COUNT(emulated); i++) {
        if (strcmp(subjects[subject], emulated[i].name) != 0) continue;
        emulated[i].fill(&kernels);
        return kernels;
    }
#endif
    cr_skip_test("%s: neither this machine nor the build runs it", subjects[subject]);
    return kernels;
}

#define OVER_SUBJECTS(suite, name, count)                                                          \
    ParameterizedTestParameters(suite, name) {                                                     \
        static size_t index[count];                                                                \
        for (size_t i = 0; i < (count); i++) index[i] = i;                                         \
        return cr_make_param_array(size_t, index, count);                                          \
    }                                                                                              \
    ParameterizedTest(size_t *subject, suite, name)

#define FOR_EACH_SUBJECT(suite, name)      OVER_SUBJECTS(suite, name, SUBJECTS)
#define FOR_EACH_TILE_SUBJECT(suite, name) OVER_SUBJECTS(suite, name, TILE_SUBJECTS)

static uint64_t state = 1;

static inline float draw(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(state >> 32) * 0x1p-31f;
}

static inline float draw_whole(void) {
    return rintf(4 * draw());
}

/* ---- memory that ends at a page no one may touch ---- */

enum { ROOM = 1 << 20 };

/* `bytes` bytes directly before a forbidden page, aligned to nothing in particular. */
static inline void *guarded(size_t slot, size_t bytes) {
    static unsigned char *rooms[8];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!rooms[slot]) {
        void *room =
            mmap(NULL, ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(room, MAP_FAILED);
        rooms[slot] = room;
        cr_assert_eq(mprotect(rooms[slot] + ROOM, page, PROT_NONE), 0);
    }
    cr_assert(bytes <= ROOM);
    return rooms[slot] + ROOM - bytes;
}

static inline void fill_floats(float *x, size_t n, bool whole) {
    for (size_t i = 0; i < n; i++) x[i] = whole ? draw_whole() : draw();
}

/* The width that rows must be a multiple of. */
static inline size_t unit_of(RowType type) {
    static const size_t units[ROW_TYPE_COUNT] = {
        [ROW_INT4] = 32,  [ROW_Q8_0] = 32,        [ROW_Q4_0] = 32,
        [ROW_MXFP4] = 32, [ROW_FP8_DS_MLA] = 128, [ROW_NVFP4] = 64
    };
    return units[type] ? units[type] : 1;
}

/* A format of a row that has at least d values: whole groups, tiles of 128 and a key behind them
 * for fp8_ds_mla. `kind` 0: of a head; 1: of a latent, fp8 without scale; 2: of a latent with the
 * key in bf16. */
static inline RowFormat format_of(RowType type, size_t d, size_t kind) {
    const size_t unit = unit_of(type);
    const size_t latent = d * 2 / 3 / unit * unit, whole = (d + unit - 1) / unit * unit;
    if (type == ROW_FP8_DS_MLA) return row_format_latent(type, latent, d - latent);
    if (kind == 2) return row_format_latent_rope(type, latent, d - latent);
    return kind ? row_format_latent(type, whole, 0) : row_format(type, whole);
}

/* Values that the type holds exactly: small whole numbers, beside those that bring the scale of
 * their group to 1. */
static inline void fill_exact(const RowFormat *format, float *x) {
    for (size_t i = 0; i < format->n; i++) {
        x[i] = draw_whole();
        if (i >= format->coded) continue;
        if (format->type == ROW_FP8 && !format->latent && i == 0) x[i] = 448;
        if (format->type == ROW_INT8 && i == 0) x[i] = 127;
        if (format->type == ROW_Q8_0 && i % 32 == 5) x[i] = -127;
        if (format->type == ROW_Q4_0 && i % 32 == 17) x[i] = -8;
        if (format->type == ROW_MXFP4 && i % 32 == 9) x[i] = 6;
        if (format->type == ROW_NVFP4 && i % 16 == 3) x[i] = -6;
        if (format->type == ROW_INT4 && i % 32 < 2) x[i] = i % 32 ? -7 : 8;
    }
}

/* n stored rows, `stride` apart; the last ends at the forbidden page. */
static inline unsigned char *fill_rows(size_t slot, const RowFormat *format, size_t n,
                                       size_t stride, bool whole) {
    const Kernels ref = kernels_select(0);
    unsigned char *rows = guarded(slot, n ? (n - 1) * stride + row_bytes(*format) : 0);
    float row[1100];
    for (size_t j = 0; j < n; j++) {
        if (whole)
            fill_exact(format, row);
        else
            fill_floats(row, format->n, false);
        ref.encode[format->type](format, row, rows + j * stride);
    }
    return rows;
}

#endif
