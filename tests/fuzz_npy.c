/* fuzz_npy.c -- any bytes are read or refused: within bounds, with one line of reason. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Stops the fuzzer where a law does not hold. */
static void require(int holds) {
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    Npy *file = NULL;
    Error err = { 0 };
    const Status status = npy_parse(&file, "fuzz", "x", bytes, size, &err);
    if (status != OK) {
        require(!file && err.status == status && err.text[0] && !strchr(err.text, '\n'));
        return 0;
    }
    const Tensor *tensor = npy_tensor(file);
    require(tensor->elements <= size);
    double *values = malloc((tensor->elements + 1) * sizeof *values);
    require(values != NULL);
    tensor_read_f64(tensor, values);
    free(values);
    npy_close(file);
    return 0;
}
