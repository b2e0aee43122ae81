/* fuzz_gguf.c -- any bytes are read as a .gguf file or refused: within bounds, with one line of
 * reason. What is read is walked to the last item, and its metadata taken for an architecture. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Stops the fuzzer where a law does not hold. */
static void require(int holds) {
    if (!holds) abort();
}

static void walk_pairs(const Gguf *file) {
    for (size_t i = 0; i < gguf_pairs(file); i++) {
        char key[GGUF_NAME_ROOM], text[64];
        GgufValue value, found, item;
        double number = 0;
        gguf_pair(file, i, key, &value);
        require(gguf_find(file, key, &found) && found.bytes == value.bytes);
        gguf_number(&value, &number);
        gguf_text(&value, text, sizeof text);
        for (size_t k = 0; gguf_item(&value, k, &item); k++) require(gguf_number(&item, &number));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    Gguf *file = NULL;
    Error err = { 0 };
    const Status status = gguf_parse(&file, "fuzz", bytes, size, &err);
    if (status != OK) {
        require(!file && err.status == status && err.text[0] && !strchr(err.text, '\n'));
        return 0;
    }
    walk_pairs(file);
    size_t sum = 0;
    for (size_t i = 0; i < gguf_tensors(file); i++) {
        GgufTensor tensor;
        gguf_tensor(file, i, &tensor);
        require(tensor.rank <= GGUF_RANK_MOST && strlen(tensor.name) > 0);
        sum += tensor.bytes;
    }
    require(sum <= size);
    static Architecture a;
    if (gguf_architecture_parse(&a, file, "fuzz", "fuzz", &err) == OK)
        require(a.layers > 0 && a.layers + a.draft_layers <= ARCHITECTURE_LAYERS_MOST);
    else
        require(err.text[0] && !strchr(err.text, '\n'));
    gguf_close(file);
    return 0;
}
