/* spectra.h -- the decompositions that conversions of one layer share. A wider rank needs no new
 * one, so a sweep over ranks decomposes once; the last few are kept. */
#ifndef KVLAB_SPECTRA_H
#define KVLAB_SPECTRA_H

#include "lowrank.h"
#include "statistics.h"

/* What of a layer is decomposed. */
typedef enum {
    SPECTRUM_BLOCK,       /* moments of values first .. first + n of [K | V], as they are */
    SPECTRUM_BALANCED,    /* all of [K | V], keys times `key_scale` */
    SPECTRUM_LOGITS,      /* keys, measured by the logits that they change */
    SPECTRUM_OUTPUT,      /* values, measured by the output of W_O that they change */
    SPECTRUM_KEY_WEIGHTS, /* W_K and W_V without data */
    SPECTRUM_VALUE_WEIGHTS
} SpectrumOf;

typedef struct {
    SpectrumOf of;
    size_t first, n;  /* of SPECTRUM_BLOCK */
    double key_scale; /* of SPECTRUM_BALANCED */
} SpectrumKey;

/* A decomposition and the metric it was made in, for projection_place and metric_return: at most
 * one of scale and blocks is there. */
typedef struct {
    SpectrumKey key;
    Spectrum spectrum;
    double *scale;  /* [n] */
    double *blocks; /* [n / width, width, width] */
    size_t width;
    size_t used; /* when it was asked for last */
} MeasuredSpectrum;

enum { SPECTRA_KEPT = 4 };

typedef struct {
    MeasuredSpectrum kept[SPECTRA_KEPT]; /* those whose spectrum has values are there */
    size_t asked;                        /* how often */
    size_t wide;                         /* [K | V] is decomposed to this rank at least, so that
                                            once is enough for all that will be asked */
} Spectra;

void spectra_free(Spectra *spectra);

/* The decomposition of a layer with at least `rank` vectors, made where it is not kept. What is
 * given stays valid until SPECTRA_KEPT others were asked for. statistics is NULL for weights.
 * Errors: as spectrum_new. */
Status spectra_get(Spectra *spectra, const SpectrumKey *key, const Model *layer,
                   const LayerWeights *weights, const Statistics *statistics, size_t rank,
                   uint64_t seed, const MeasuredSpectrum **out, Error *err);

/* Components first_component .. + rank of a projection from it, on values first_value on. */
void spectra_place(const MeasuredSpectrum *measured, Projection *projection, size_t rank,
                   size_t first_component, size_t first_value);

#endif
