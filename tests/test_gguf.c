/* test_gguf.c -- .gguf files made here: their metadata, the sizes of their tensors, and what is
 * refused. */
#include "gguf.h"

#include <criterion/criterion.h>
#include <string.h>

#include "gguf_files.h"

static unsigned char bytes[GGUF_FILE_ROOM];
static GgufFile file;

/* Three pairs and two tensors. */
static size_t make(void) {
    memset(&file, 0, sizeof file);
    gguf_string(&file, "general.architecture", "llama");
    gguf_u32(&file, "llama.block_count", 7);
    gguf_list(&file, "llama.attention.head_count_kv", (const uint32_t[]){ 1, 0, 8 }, 3);
    gguf_tokens(&file, 5);
    gguf_row(&file, "token_embd.weight", 12, 256, 4, 4 * 144);
    gguf_row(&file, "output_norm.weight", 0, 256, 1, 1024);
    return gguf_bytes(&file, bytes);
}

Test(gguf, pairs_are_read_by_type) {
    Gguf *gguf = NULL;
    Error err = { 0 };
    GgufValue value, item;
    double number = 0;
    char text[8];
    cr_assert_eq(gguf_parse(&gguf, "f", bytes, make(), &err), OK, "%s", err.text);
    cr_assert_eq(gguf_pairs(gguf), 4);
    cr_assert(gguf_find(gguf, "llama.block_count", &value) && gguf_number(&value, &number));
    cr_assert_eq(number, 7);
    cr_assert(gguf_find(gguf, "general.architecture", &value));
    cr_assert(gguf_text(&value, text, 4) && strcmp(text, "lla") == 0, "cut to fit");
    cr_assert_not(gguf_number(&value, &number));
    cr_assert(gguf_find(gguf, "llama.attention.head_count_kv", &value) && value.count == 3);
    cr_assert(gguf_item(&value, 2, &item) && gguf_number(&item, &number) && number == 8);
    cr_assert_not(gguf_item(&value, 3, &item));
    cr_assert(gguf_find(gguf, "tokenizer.ggml.tokens", &value) && value.count == 5);
    cr_assert_not(gguf_item(&value, 0, &item), "strings are not handed out");
    cr_assert_not(gguf_find(gguf, "llama.block_coun", &value));
    gguf_close(gguf);
}

Test(gguf, numbers_of_every_width_are_read) {
    static const struct {
        uint32_t type;
        unsigned char bytes[8];
        size_t size;
        double value;
    } rows[] = {
        { 0, { 0xff }, 1, 255 },
        { 1, { 0xff }, 1, -1 },
        { 2, { 0xff, 0xff }, 2, 65535 },
        { 3, { 0xfe, 0xff }, 2, -2 },
        { 4, { 0, 0, 0, 0x80 }, 4, 2147483648.0 },
        { 5, { 0xff, 0xff, 0xff, 0xff }, 4, -1 },
        { 6, { 0, 0, 0x80, 0x3f }, 4, 1 },
        { 7, { 1 }, 1, 1 },
        { 10, { 0, 0, 0, 0, 1 }, 8, 4294967296.0 },
        { 11, { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, 8, -1 },
        { 12, { 0, 0, 0, 0, 0, 0, 0xf8, 0x3f }, 8, 1.5 },
    };
    memset(&file, 0, sizeof file);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%zu", i);
        gguf_head(&file, key, rows[i].type);
        gguf_put(file.pairs, &file.pairs_used, rows[i].bytes, rows[i].size);
    }
    Gguf *gguf = NULL;
    Error err = { 0 };
    cr_assert_eq(gguf_parse(&gguf, "f", bytes, gguf_bytes(&file, bytes), &err), OK, "%s", err.text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char key[GGUF_NAME_ROOM];
        GgufValue value;
        double number = 0;
        gguf_pair(gguf, i, key, &value);
        cr_assert(gguf_number(&value, &number));
        cr_assert_eq(number, rows[i].value, "type %u: %g", rows[i].type, number);
    }
    gguf_close(gguf);
}

Test(gguf, tensors_have_the_bytes_of_their_blocks) {
    /* Numbers and sizes of ggml: elements of a block, its bytes. */
    static const struct {
        uint32_t type;
        const char *name;
        size_t block, bytes;
    } rows[] = {
        { 0, "F32", 1, 4 },       { 1, "F16", 1, 2 },       { 30, "BF16", 1, 2 },
        { 2, "Q4_0", 32, 18 },    { 3, "Q4_1", 32, 20 },    { 6, "Q5_0", 32, 22 },
        { 7, "Q5_1", 32, 24 },    { 8, "Q8_0", 32, 34 },    { 10, "Q2_K", 256, 84 },
        { 11, "Q3_K", 256, 110 }, { 12, "Q4_K", 256, 144 }, { 13, "Q5_K", 256, 176 },
        { 14, "Q6_K", 256, 210 }, { 20, "IQ4_NL", 32, 18 }, { 23, "IQ4_XS", 256, 136 },
        { 39, "MXFP4", 32, 17 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Gguf *gguf = NULL;
        Error err = { 0 };
        GgufTensor tensor;
        memset(&file, 0, sizeof file);
        gguf_row(&file, "t", rows[i].type, 512, 3, 3 * 512 / rows[i].block * rows[i].bytes);
        cr_assert_eq(gguf_parse(&gguf, "f", bytes, gguf_bytes(&file, bytes), &err), OK, "%s",
                     err.text);
        gguf_tensor(gguf, 0, &tensor);
        cr_assert_str_eq(tensor.type, rows[i].name);
        cr_assert(tensor.elements == 1536 && tensor.rank == 2 && tensor.shape[0] == 512);
        cr_assert_eq(tensor.bytes, 1536 / rows[i].block * rows[i].bytes);
        gguf_close(gguf);
    }
}

static void refused(size_t size, const char *reason) {
    Gguf *gguf = NULL;
    Error err = { 0 };
    cr_expect_eq(gguf_parse(&gguf, "f", bytes, size, &err), ERR_INPUT, "%s", reason);
    cr_expect(strstr(err.text, reason), "%s: %s", reason, err.text);
    cr_expect_null(gguf);
}

Test(gguf, a_file_cut_anywhere_is_refused) {
    const size_t size = make();
    for (size_t cut = 0; cut < size; cut++) {
        Gguf *gguf = NULL;
        Error err = { 0 };
        cr_assert_eq(gguf_parse(&gguf, "f", bytes, cut, &err), ERR_INPUT, "cut to %zu", cut);
        cr_assert(*err.text && !gguf);
    }
}

Test(gguf, heads_that_lie_are_refused) {
    size_t size = make();
    bytes[0] = 'g';
    refused(size, "does not begin with GGUF");
    size = make();
    bytes[4] = 1;
    refused(size, "version 1; allowed: 2, 3");
    size = make();
    memset(bytes + 8, 0xff, 8);
    refused(size, "for the number of tensors");
    size = make();
    memset(bytes + 16, 0x7f, 8);
    refused(size, "for the number of pairs");
    size = make();
    memset(bytes + 24, 0xff, 8);
    refused(size, "for a key, but");
}

Test(gguf, pairs_that_lie_are_refused) {
    memset(&file, 0, sizeof file);
    gguf_head(&file, "k", 99);
    refused(gguf_bytes(&file, bytes), "type 99 of a value is not known");
    memset(&file, 0, sizeof file);
    gguf_u32(&file, "twice", 1);
    gguf_u32(&file, "twice", 2);
    refused(gguf_bytes(&file, bytes), "key 'twice' is given twice");
    memset(&file, 0, sizeof file);
    gguf_u32(&file, "a\nb", 1);
    refused(gguf_bytes(&file, bytes), "not printable");
    memset(&file, 0, sizeof file);
    gguf_u32(&file, "general.alignment", 0);
    refused(gguf_bytes(&file, bytes), "general.alignment");
    memset(&file, 0, sizeof file);
    const uint64_t many = (uint64_t)1 << 62;
    const uint32_t item = 4;
    gguf_head(&file, "k", 9);
    gguf_put(file.pairs, &file.pairs_used, &item, 4);
    gguf_put(file.pairs, &file.pairs_used, &many, 8);
    refused(gguf_bytes(&file, bytes), "for the length of an array");
}

Test(gguf, arrays_within_arrays_end_somewhere) {
    memset(&file, 0, sizeof file);
    const uint64_t one = 1;
    const uint32_t array = 9;
    gguf_head(&file, "k", 9);
    for (size_t depth = 0; depth < 1000; depth++) {
        gguf_put(file.pairs, &file.pairs_used, &array, 4);
        gguf_put(file.pairs, &file.pairs_used, &one, 8);
    }
    refused(gguf_bytes(&file, bytes), "nested deeper");
}

Test(gguf, tensors_that_lie_are_refused) {
    static const struct {
        uint32_t type;
        uint64_t columns, rows;
        const char *reason;
    } lies[] = {
        { 12, 255, 4, "no whole blocks" },
        { 5, 256, 4, "type 5, whose size kvlab does not know" },
        { 1000, 256, 4, "type 1000" },
        { 0, 0, 4, "a size of 0" },
        { 0, (uint64_t)1 << 40, (uint64_t)1 << 40, "overflows" },
        { 0, (uint64_t)1 << 30, 1, "reaches past the end of the file" },
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        memset(&file, 0, sizeof file);
        gguf_row(&file, "t", lies[i].type, lies[i].columns, lies[i].rows, 64);
        refused(gguf_bytes(&file, bytes), lies[i].reason);
    }
    memset(&file, 0, sizeof file);
    gguf_row(&file, "t", 0, 8, 1, 32);
    gguf_row(&file, "t", 0, 8, 1, 32);
    refused(gguf_bytes(&file, bytes), "tensor 't' is given twice");
    memset(&file, 0, sizeof file);
    gguf_row(&file, "a", 0, 8, 2, 32); /* 64 bytes where the next begins at 32 */
    gguf_row(&file, "b", 0, 8, 1, 32);
    refused(gguf_bytes(&file, bytes), "overlaps another");
    memset(&file, 0, sizeof file);
    gguf_row(&file, "a", 0, 8, 1, 32);
    file.rows[file.rows_used - 8] = 4;
    refused(gguf_bytes(&file, bytes), "not aligned");
}
