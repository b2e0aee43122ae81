/* skinny.c -- few rows times a matrix of weights, by the kernels of scores; see skinny.h.
 *
 * Bound by memory up to about four rows, by multiply-adds behind that. A product with rows of
 * weights is what scores of query rows against keys are, so every tier has it. Pieces
 * of the inputs are packed and stay in the second cache while their part of the weights passes;
 * outputs are cut among threads, and by a few for each call. The beginnings of the rows of the next
 * call are asked for: a row is a stream of its own, whose first lines no cache foresees.
 *
 * Tried and dropped, on Zen 3, 1 thread, 7168x2112 f32: inputs where they lie (rows 28 KiB apart
 * fall into the same sets of the first cache: 12.7 ms for 16 rows, 8.7 packed); pieces of 16 KiB
 * (as 4 rows: 3.8 ms, 3.2 with 64 KiB; weights come in shorter runs); 16 rows a call (11.1 ms);
 * asking for all lines of the next call's rows (4 rows: 4.2 ms); the same between blocks of three
 * outputs from 8 rows on (bf16, 16 rows: 7.1 ms, 7.8 without, but f32, 8 rows: 5.9 and 5.1); the
 * scores of tile.h over pieces of 512 or 1024 (16 rows: 10.5 ms, 8 rows: 8.5). On 4096x4096: strips
 * of 128 to 512 that fit the first cache along with their inputs (16 rows: 11.6 ms at best, 11.3
 * without: rows of weights a multiple of 4 KiB apart meet in its same sets). */
#include "skinny.h"

#include <omp.h>
#include <stdbool.h>
#include <string.h>

enum {
    INPUT_FLOATS = 16384, /* of all rows of a piece of the width: 64 KiB */
    PIECE_STEP = 128,
    OUTPUTS_A_CALL = 12, /* whole register blocks of every tier */
    ROWS_TOGETHER = 16,  /* that the weights are read once for */
    ROWS_A_CALL = 4,     /* a register block of every tier that needs the fewest loads */
    LINE_BYTES = 64,
    LINE_FLOATS = 16,
    BYTES_ASKED = 512,       /* of a row */
    WEIGHTS_A_THREAD = 16384 /* fewer are done before a thread has woken */
};

typedef struct {
    const Kernels *kernels;
    RowFormat format;               /* of a row of weights */
    size_t in, stride, value_bytes; /* its values, its bytes, those of a value */
    size_t rows, ld_x, ld_y;
    const float *x;
    const unsigned char *w;
    float *y;
} Product;

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Width of a piece. */
static size_t piece_width(size_t rows) {
    const size_t floats = INPUT_FLOATS / (rows ? rows : 1);
    return floats < PIECE_STEP ? PIECE_STEP : floats / PIECE_STEP * PIECE_STEP;
}

static void ask(const Product *p, size_t first, size_t end, size_t from) {
    const size_t begin = from * p->value_bytes, bytes = smaller(BYTES_ASKED, p->stride - begin);
    for (size_t o = first; o < end; o++)
        for (size_t at = 0; at < bytes; at += LINE_BYTES)
            __builtin_prefetch(p->w + o * p->stride + begin + at, 0, 2);
}

/* A piece of the inputs, its rows side by side: where they lie they may all fall into the same sets
 * of the first cache. They are put an odd number of lines apart. */
typedef struct {
    size_t from, width, ld;
    float at[INPUT_FLOATS + ROWS_TOGETHER * LINE_FLOATS];
} Piece;

static void take_piece(const Product *p, size_t from, Piece *piece) {
    const size_t width = piece_width(p->rows);
    piece->from = from;
    piece->width = smaller(width, p->in - from);
    piece->ld = width + LINE_FLOATS;
    for (size_t r = 0; r < p->rows && piece->width; r++)
        memcpy(piece->at + r * piece->ld, p->x + r * p->ld_x + from,
               piece->width * sizeof *piece->at);
}

/* Outputs first .. first+n-1: set by the first piece of the width, added to by the others. */
static void add_outputs(const Product *p, const Piece *x, size_t first, size_t n) {
    const ScoresFn scores = p->kernels->scores[p->format.type];
    const unsigned char *w = p->w + first * p->stride + x->from * p->value_bytes;
    for (size_t r = 0, rows; r < p->rows; r += rows) {
        rows = smaller(ROWS_A_CALL, p->rows - r);
        const float *in = x->at + r * x->ld;
        float part[ROWS_A_CALL * OUTPUTS_A_CALL], *y = p->y + r * p->ld_y + first;
        const bool sets = x->from == 0;
        scores(&p->format, rows, n, x->width, in, x->ld, w, p->stride, sets ? y : part,
               sets ? p->ld_y : OUTPUTS_A_CALL);
        for (size_t i = 0; i < rows * n && !sets; i++)
            y[i / n * p->ld_y + i % n] += part[i / n * OUTPUTS_A_CALL + i % n];
    }
}

static void run_outputs(const Product *p, size_t first, size_t end) {
    Piece x;
    x.from = 0;
    do {
        take_piece(p, x.from, &x);
        for (size_t o = first, n; o < end; o += n) {
            n = smaller(OUTPUTS_A_CALL, end - o);
            ask(p, o + n, smaller(o + 2 * n, end), x.from);
            add_outputs(p, &x, o, n);
        }
        x.from += x.width;
    } while (x.from < p->in);
}

void skinny_linear(const Kernels *kernels, int threads, size_t rows, size_t out, size_t in,
                   const float *x, size_t ld_x, RowType type, const void *w, float *y,
                   size_t ld_y) {
    const RowFormat format = row_format(type, in);
    const size_t calls = (out + OUTPUTS_A_CALL - 1) / OUTPUTS_A_CALL;
    const int useful =
        (int)smaller(out * in / WEIGHTS_A_THREAD + 1, threads > 1 ? (size_t)threads : 1);
    for (size_t r = 0; r < rows; r += ROWS_TOGETHER) {
        const Product p = { .kernels = kernels,
                            .format = format,
                            .in = in,
                            .stride = row_bytes(format),
                            .value_bytes = in ? row_bytes(format) / in : 0,
                            .rows = smaller(ROWS_TOGETHER, rows - r),
                            .ld_x = ld_x,
                            .ld_y = ld_y,
                            .x = x + r * ld_x,
                            .w = w,
                            .y = y + r * ld_y };
#pragma omp parallel num_threads(useful)
        {
            const size_t workers = (size_t)omp_get_num_threads(), me = (size_t)omp_get_thread_num();
            const size_t first = calls * me / workers * OUTPUTS_A_CALL,
                         end = calls * (me + 1) / workers * OUTPUTS_A_CALL;
            run_outputs(&p, smaller(first, out), smaller(end, out));
        }
    }
}
