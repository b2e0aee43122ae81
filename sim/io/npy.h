/* npy.h -- reading (memory-mapped) of NumPy's .npy files: one array of float64, float32 or float16,
 * little-endian, in C order. Format versions 1.0 to 3.0 of numpy.lib.format. */
#ifndef KVLAB_NPY_H
#define KVLAB_NPY_H

#include "safetensors.h"

typedef struct Npy Npy;

/* Opens a file; `name` becomes the name of its tensor and stays with the caller. Refused with
 * ERR_INPUT: a file that is no regular file, not .npy, or of another length than its header says;
 * other types, Fortran order, a header over 64 KiB or with keys beside descr, fortran_order and
 * shape. ERR_MACHINE: it cannot be mapped. A file must not shrink while it is open. */
Status npy_open(Npy **file, const char *path, const char *name, Error *err);
/* The same from memory that stays with the caller. For fuzzing. */
Status npy_parse(Npy **file, const char *path, const char *name, const void *bytes, size_t size,
                 Error *err);
void npy_close(Npy *file);

/* Its one array. */
const Tensor *npy_tensor(const Npy *file);

#endif
