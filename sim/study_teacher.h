/* study_teacher.h -- the layer that errors are measured against: what it makes of a text exactly,
 * and the statistics that conversions start from. Private to study_error.c.
 *
 *   synthetic   the generator's weights in MHA of the model's widths, or in the model's own layer,
 *               all widths divided by error.shrink; it scores one text and calibrates on another
 *   tensors     a layer as it is (real_layer.h); calibrated on a text of its own, or on the first
 *               error.calibration_tokens of the text, which are then not scored */
#ifndef KVLAB_STUDY_TEACHER_H
#define KVLAB_STUDY_TEACHER_H

#include "convert.h"
#include "real_layer.h"
#include "reference.h"
#include "study_run.h"

typedef struct {
    /* What it was made for. */
    size_t tokens, calibration_tokens, layer, draw;

    Model model;
    const LayerWeights *weights;
    bool asks, projects; /* has queries; has an output projection */
    float *x;            /* [tokens, D] scored */
    Statistics statistics;
    bool calibrated; /* the statistics are there: the layer can be converted */
    Spectra spectra;
    Reference exact;

    RealLayer *real;
    LayerWeights drawn; /* synthetic ones */
} Teacher;

/* The shape of the teacher of a point: synthetic ones at the model's true size or at that of the
 * error layer. Errors: ERR_INPUT when a width is not divisible. */
Status teacher_model(const Model *base, const Config *config, bool true_size, Model *out,
                     Error *err);

/* Is this the teacher that a point needs for one of its draws? */
bool teacher_fits(const Teacher *teacher, const Config *config, size_t draw);

/* Makes a teacher, zeroed before, of seed + draw; with what statistics_new takes as `more`.
 * Errors: ERR_INPUT for tensors (real_layer_open) or too few tokens in them; ERR_MACHINE. Release
 * with teacher_free, also after a failure. */
Status teacher_new(Teacher *teacher, const Model *base, const Config *config, size_t draw,
                   unsigned more, Error *err);
void teacher_free(Teacher *teacher);

/* Appends what of the energy of the layer's keys before and after RoPE, of its values and of [K |
 * V] the best r components leave out, for r at two steps an octave (as spectrum_key_64), and how
 * many leave out a tenth (as spectrum_key_90), over the calibration text. Kind: measured. Nothing
 * where the layer has no statistics. Errors: those of spectrum_new. */
Status study_add_spectra(Teacher *teacher, uint64_t seed, MetricList *list, Error *err);

#endif
