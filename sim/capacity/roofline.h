/* roofline.h -- how long a part of a step takes, and how well that agrees with kernels that were
 * measured: the one model of `kvlab plan`, for GPUs by published shares of their peaks and for
 * kvlab's own kernels by shares fitted to `kvlab bench`.
 *
 *   seconds = max(flops / (peak x share) + values / unpacked, bytes / (bandwidth x share))
 *
 * `unpacked` is the rate at which stored values become floats before they are multiplied; 0 where
 * that costs nothing (a GPU's, for want of a source). */
#ifndef KVLAB_ROOFLINE_H
#define KVLAB_ROOFLINE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec.h"
#include "error.h"

typedef struct {
    double flops, bytes, values; /* values: of cached rows that are unpacked */
} PartWork;

typedef struct {
    double peak, bandwidth; /* a second, shares included; 0 unknown: costs nothing */
    double unpacked;        /* values a second */
} PartRates;

double roofline_seconds(const PartWork *work, const PartRates *rates);

/* ---- against kvlab's kernels ---- */

typedef enum {
    KERNEL_DECODE_HEADS,  /* rows of heads, few query tokens */
    KERNEL_DECODE_LATENT, /* absorbed MLA */
    KERNEL_PREFILL_HEADS,
    KERNEL_PREFILL_EXPANDED, /* keys and values rebuilt from the latent */
    KERNEL_PREFILL_ABSORBED,
    KERNELS
} KernelClass;

/* "decode of heads", ... */
const char *kernel_class_name(KernelClass class);

typedef struct {
    char name[96];
    KernelClass class;
    RowType type;
    PartWork work;
    double peak, bandwidth; /* of this machine, measured in turns with the case */
    double median_ns;
    bool fitted;               /* shares were fitted to it; else it is held out */
    double modelled_ns, error; /* |modelled / measured - 1| */
} KernelCase;

typedef struct {
    double compute[KERNELS];         /* shares of the peak */
    double memory;                   /* share of the bandwidth */
    double unpack_s[ROW_TYPE_COUNT]; /* seconds a value; 0 where no case tells */
} KernelShares;

typedef struct {
    KernelCase *cases;
    size_t count;
    KernelShares shares;
    double median_error;          /* of all */
    double median_error_held_out; /* of those that nothing was fitted to */
} KernelCheck;

/* Reads the decode and prefill cases of a result of `kvlab bench --json`, fits the shares to every
 * other one and models all. Release with roofline_check_free. Errors: ERR_INPUT with the file and
 * what is missing. */
Status roofline_check(KernelCheck *check, const char *path, Error *err);
void roofline_check_free(KernelCheck *check);

#endif
