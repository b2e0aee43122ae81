/* .npy files: what NumPy writes is read, what it does not write is refused with a reason. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npy.h"

static unsigned char bytes[70000];

/* A file of this header, padded as NumPy pads, and values of `size` bytes. Returns its size. */
static size_t make(unsigned major, const char *header, const void *values, size_t size) {
    const size_t wide = major == 1 ? 2 : 4, length = strlen(header);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (unsigned char)major;
    bytes[7] = 0;
    for (size_t i = 0; i < wide; i++) bytes[8 + i] = (unsigned char)(length >> (8 * i));
    memcpy(bytes + 8 + wide, header, length);
    if (size) memcpy(bytes + 8 + wide + length, values, size);
    return 8 + wide + length + size;
}

static void refused(size_t size, const char *why) {
    Npy *file = NULL;
    Error err;
    cr_assert_eq(npy_parse(&file, "a.npy", "a", bytes, size, &err), ERR_INPUT, "%s", why);
    cr_assert(strstr(err.text, why), "%s", err.text);
    cr_assert(strncmp(err.text, "a.npy: ", 7) == 0, "%s", err.text);
    cr_assert_null(file);
}

Test(npy, files_of_each_type_and_version_are_read) {
    const float values[6] = { 0, 1, -2, 3.5F, 4, 5 };
    const double wide[2] = { 0.1, -7 };
    const unsigned short half[2] = { 0x3c00, 0xc000 };
    Npy *file;
    Error err;
    float out[6];
    size_t size = make(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n",
                       values, sizeof values);
    cr_assert_eq(npy_parse(&file, "a.npy", "a", bytes, size, &err), OK, "%s", err.text);
    const Tensor *t = npy_tensor(file);
    cr_assert_str_eq(t->name, "a");
    cr_assert_eq(t->rank, 2);
    cr_assert_eq(t->shape[0], 2);
    cr_assert_eq(t->shape[1], 3);
    tensor_read(t, out);
    cr_assert_eq(memcmp(out, values, sizeof values), 0);
    npy_close(file);

    size = make(2, "{\"shape\":(2,),\"descr\":\"<f8\",\"fortran_order\":False}", wide, sizeof wide);
    cr_assert_eq(npy_parse(&file, "a.npy", "a", bytes, size, &err), OK, "%s", err.text);
    double exact[2];
    tensor_read_f64(npy_tensor(file), exact);
    cr_assert_eq(memcmp(exact, wide, sizeof wide), 0);
    npy_close(file);

    size = make(3, "{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2)}", half, sizeof half);
    cr_assert_eq(npy_parse(&file, "a.npy", "a", bytes, size, &err), OK, "%s", err.text);
    tensor_read(npy_tensor(file), out);
    cr_assert_eq(out[0], 1);
    cr_assert_eq(out[1], -2);
    npy_close(file);
}

Test(npy, a_scalar_has_no_dimensions_and_an_empty_array_no_values) {
    const float one = 1;
    Npy *file;
    Error err;
    size_t size = make(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", &one, 4);
    cr_assert_eq(npy_parse(&file, "a.npy", "a", bytes, size, &err), OK, "%s", err.text);
    cr_assert_eq(npy_tensor(file)->rank, 0);
    cr_assert_eq(npy_tensor(file)->elements, 1);
    npy_close(file);
    size = make(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 5), }", NULL, 0);
    cr_assert_eq(npy_parse(&file, "a.npy", "a", bytes, size, &err), OK, "%s", err.text);
    cr_assert_eq(npy_tensor(file)->elements, 0);
    npy_close(file);
}

Test(npy, what_is_not_read_is_said) {
    const float values[4] = { 1, 2, 3, 4 };
#define REFUSED(header, why) refused(make(1, header, values, sizeof values), why)
    REFUSED("{'descr': '<i4', 'fortran_order': False, 'shape': (4,), }", "'<i4'; float64");
    REFUSED("{'descr': '>f4', 'fortran_order': False, 'shape': (4,), }", "'>f4'");
    REFUSED("{'descr': '<f4', 'fortran_order': True, 'shape': (4,), }", "Fortran order");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }",
            "16 bytes of values; its shape takes 20");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "its shape takes 12");
    REFUSED("{'descr': '<f4', 'fortran_order': False}", "shape is missing");
    REFUSED("{'descr': '<f4', 'descr': '<f4', 'shape': (4,)}", "repeated key");
    REFUSED("{'descr': '<f4', 'size': 4}", "unknown or repeated");
    REFUSED("{'descr': '<f4', 'fortran_order': 0, 'shape': (4,)}", "neither True nor False");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': 4}", "no tuple");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': (4}", "no tuple");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}", "a size is wanted");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)} x", "something follows");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': (4,)", "does not end");
    REFUSED("{'descr': [('a', '<f4')], 'shape': (4,)}", "text in quotes");
    REFUSED("{'descr: '<f4'}", "unknown or repeated key");
    REFUSED("", "no dictionary");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,4)}",
            "more than 8 dimensions");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 8)}",
            "overflows");
    REFUSED("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "a size overflows");
}

Test(npy, a_file_cut_short_is_refused_wherever_it_ends) {
    const float values[2] = { 1, 2 };
    const size_t size =
        make(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", values, sizeof values);
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *part = malloc(cut + 1); /* so that a sanitizer sees what lies beyond */
        memcpy(part, bytes, cut);
        Npy *file = NULL;
        Error err;
        cr_assert_eq(npy_parse(&file, "a.npy", "a", part, cut, &err), ERR_INPUT, "at %zu", cut);
        free(part);
    }
    bytes[0] = 'x';
    refused(size, "not a .npy file");
    bytes[0] = 0x93;
    bytes[6] = 4;
    refused(size, "version 4");
    make(2, "", NULL, 0);
    bytes[10] = 2; /* 131,072 bytes */
    refused(sizeof bytes, "at most 65536");
}
