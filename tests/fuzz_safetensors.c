/* fuzz_safetensors.c -- any bytes are read or refused: within bounds, with one line of reason.
 *
 * What is read is walked to the last value. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Stops the fuzzer where a law does not hold. */
static void require(int holds) {
    if (!holds) abort();
}

static void walk(const Safetensors *file, size_t size) {
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const Tensor *tensor = safetensors_tensor(file, i);
        require(safetensors_find(file, tensor->name) == tensor);
        require(tensor->elements <= size);
        float *values = malloc((tensor->elements + 1) * sizeof *values);
        double *exact = malloc((tensor->elements + 1) * sizeof *exact);
        require(values && exact);
        tensor_read(tensor, values);
        tensor_read_f64(tensor, exact);
        for (size_t j = 0; j < tensor->elements; j++)
            require(values[j] == (float)exact[j] || exact[j] != exact[j]);
        free(values);
        free(exact);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    Safetensors *file = NULL;
    Error err = { 0 };
    const Status status = safetensors_parse(&file, "fuzz", bytes, size, &err);
    if (status == OK) {
        walk(file, size);
        safetensors_metadata(file, "config");
        safetensors_close(file);
    } else {
        require(!file && err.status == status && err.text[0] && !strchr(err.text, '\n'));
    }
    return 0;
}
