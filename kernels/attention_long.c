/* attention_long.c -- sums over many tokens that lose nothing to their number.
 *
 * A sum in floats of n values of mixed signs is off by about the square root of n roundings. So the
 * sums of each stretch of tokens begin anew, and what they came to is added up in doubles: a
 * long item is as near as one stretch of it. Bound by memory; one pass over the outputs in a
 * thousand tokens is lost in the time of the tiles. */
#include <math.h>
#include <string.h>

#include "attention_parts.h"

size_t long_floats(const Plan *plan, size_t rows) {
    const size_t stretch = plan->one_row ? ONE_ROW_STRETCH : STRETCH_TOKENS;
    return plan->chunk > stretch ? 2 * part_floats(plan, rows) : 0;
}

LongSums long_begin(const Item *item, size_t tokens) {
    const size_t rows = item->block->rows, floats = rows * item->plan->v_ld;
    LongSums sums = { .stretch = rows == item->block->heads ? ONE_ROW_STRETCH : STRETCH_TOKENS };
    if (tokens <= sums.stretch) return sums;
    sums.o = (double *)(void *)(item->work + item->plan->longer);
    sums.max = sums.o + floats;
    sums.sum = sums.max + tile_lanes(rows);
    memset(sums.o, 0, floats * sizeof *sums.o);
    for (size_t r = 0; r < rows; r++) sums.max[r] = -INFINITY, sums.sum[r] = 0;
    return sums;
}

/* Adds the part, whose maxima are at least those of the sums, and begins it anew; these it keeps.
 */
static void add_part(LongSums *sums, const Item *item) {
    const size_t width = item->plan->v_ld;
    const Part *part = &item->part;
    for (size_t r = 0; r < item->block->rows; r++) {
        const double max = part->max[r];
        const double factor = sums->max[r] == max ? 1 : exp(sums->max[r] - max);
        double *sum = sums->o + r * width;
        const float *o = part->o + r * width;
        for (size_t e = 0; e < width; e++) sum[e] = factor * sum[e] + (double)o[e];
        sums->sum[r] = factor * sums->sum[r] + (double)part->sum[r];
        sums->max[r] = max;
        part->sum[r] = 0;
    }
    memset(part->o, 0, item->block->rows * width * sizeof *part->o);
    sums->tokens = 0;
}

void long_add(LongSums *sums, const Item *item, size_t tokens) {
    sums->tokens += tokens;
    if (sums->o && sums->tokens >= sums->stretch) add_part(sums, item);
}

void long_end(LongSums *sums, const Item *item) {
    if (!sums->o) return;
    const size_t rows = item->block->rows, floats = rows * item->plan->v_ld;
    add_part(sums, item);
    for (size_t i = 0; i < floats; i++) item->part.o[i] = (float)sums->o[i];
    for (size_t r = 0; r < rows; r++) item->part.sum[r] = (float)sums->sum[r];
}
