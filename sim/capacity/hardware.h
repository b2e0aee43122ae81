/* hardware.h -- devices by name: configs/hardware/NAME.yaml, each figure with its source. A figure
 * that no source confirms is left out there, and 0 here. */
#ifndef KVLAB_HARDWARE_H
#define KVLAB_HARDWARE_H

#include <stddef.h>
#include <stdint.h>

#include "error.h"

/* Types whose dense peak a device may state. */
typedef enum { RATE_F32, RATE_BF16, RATE_FP8, RATE_INT8, RATE_FP4, RATES } Rate;

/* Parts of a step that reach different shares of the peak rates. */
typedef enum {
    SHARE_ATTENTION_MEMORY,
    SHARE_ATTENTION_COMPUTE,
    SHARE_PRODUCT_MEMORY,
    SHARE_PRODUCT_COMPUTE,
    SHARE_LINK,
    SHARES
} Share;

/* The share of a peak rate that software reaches, as a range. */
typedef struct {
    double low, high;
    char source[160];
} Efficiency;

/* What a file gives sources for. */
typedef enum {
    FIGURE_MEMORY,
    FIGURE_USABLE,
    FIGURE_BANDWIDTH,
    FIGURE_PEAKS,
    FIGURE_LINK,
    FIGURE_NETWORK,
    FIGURES
} Figure;

typedef struct {
    char name[64];            /* as people write it */
    char also[64];            /* other names, with commas between */
    uint64_t memory_bytes;    /* of one device, as sold */
    uint64_t usable_bytes;    /* as its driver reports it; memory_bytes where unknown */
    double bandwidth_bytes_s; /* of memory */
    double flops[RATES];      /* dense, a second */
    double link_bytes_s;      /* to the other devices that it links, one direction */
    size_t link_devices;      /* that the link joins, this one among them; 0 unknown */
    double network_bytes_s;   /* of one device to those beyond them, one direction; 0 unknown */
    char source[FIGURES][200];
    Efficiency efficiency[SHARES];
} Hardware;

/* Reads configs/hardware/<name>.yaml; case does not matter ("H200" is h200), and other names that
 * files give themselves are known. The efficiencies that a file leaves out are those of
 * configs/hardware/_efficiency.yaml. Errors: ERR_INPUT with the nearest right name, or the place in
 * the file and the key. */
Status hardware_read(Hardware *hardware, const char *name, Error *err);

/* "8xH200" is eight of them, "h200" one. Errors: as hardware_read, or a count out of range. */
Status hardware_parse(Hardware *hardware, size_t *count, const char *text, Error *err);

/* The same from a file's text, its efficiencies as given there alone. For fuzzing. */
Status hardware_parse_file(Hardware *hardware, const char *name, const char *text, size_t length,
                           Error *err);

#endif
