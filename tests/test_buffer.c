/* test_buffer.c -- allocation that is checked, and failures that are one line. */
#include "buffer.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

Test(buffer, memory_is_zeroed_and_aligned_whatever_its_size) {
    static const size_t counts[] = { 0, 1, 63, 64, 65, 4096, 3000001 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        Error err = { 0 };
        unsigned char *memory = buffer_new(counts[i], 1, "bytes", &err);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % 64, 0);
        for (size_t j = 0; j < counts[i]; j++) cr_assert_eq(memory[j], 0);
        memset(memory, 1, counts[i]);
        buffer_free(memory);
    }
}

Test(buffer, a_product_that_overflows_is_refused) {
    Error err = { 0 };
    cr_assert_null(buffer_new(SIZE_MAX / 2, 16, "rows", &err));
    cr_assert_eq(err.status, ERR_MACHINE);
    cr_assert_not_null(strstr(err.text, "for rows"));
}

Test(buffer, growing_keeps_what_is_used) {
    Error err = { 0 };
    size_t capacity = 0;
    int *numbers = NULL;
    for (int used = 0; used < 1000; used++) {
        numbers = buffer_grown(numbers, &capacity, (size_t)used, (size_t)used + 1, sizeof *numbers,
                               "numbers", &err);
        cr_assert_not_null(numbers);
        cr_assert_geq(capacity, (size_t)used + 1);
        numbers[used] = used;
    }
    for (int i = 0; i < 1000; i++) cr_assert_eq(numbers[i], i);
    cr_assert_eq(buffer_grown(numbers, &capacity, 1000, 10, sizeof *numbers, "numbers", &err),
                 numbers);
    buffer_free(numbers);
}

Test(buffer, growing_in_vain_leaves_the_old_memory) {
    Error err = { 0 };
    size_t capacity = 0;
    int *numbers = buffer_grown(NULL, &capacity, 0, 1, sizeof *numbers, "numbers", &err);
    numbers[0] = 7;
    const size_t before = capacity;
    cr_assert_null(
        buffer_grown(numbers, &capacity, 1, SIZE_MAX / 2, sizeof *numbers, "numbers", &err));
    cr_assert_eq(capacity, before);
    cr_assert_eq(numbers[0], 7);
    buffer_free(numbers);
}

Test(error, a_failure_is_one_line_whatever_the_values_hold) {
    Error err = { 0 };
    cr_assert_eq(fail(&err, ERR_MACHINE, "%s", "two\nlines\t\x7f"), ERR_MACHINE);
    cr_assert_eq(err.status, ERR_MACHINE);
    cr_assert_str_eq(err.text, "two?lines??");
}

Test(error, a_place_leaves_out_what_is_not_known) {
    Error err = { 0 };
    cr_assert_eq(fail_at(&err, "a.yaml", 3, 7, "wrong: %d", 5), ERR_INPUT);
    cr_assert_str_eq(err.text, "a.yaml:3:7: wrong: 5");
    fail_at(&err, "a.yaml", 3, 0, "wrong");
    cr_assert_str_eq(err.text, "a.yaml:3: wrong");
    fail_at(&err, "a.yaml", 0, 0, "wrong");
    cr_assert_str_eq(err.text, "a.yaml: wrong");
}

Test(error, text_of_any_length_is_cut_to_fit) {
    char name[3000];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    Error err = { 0 };
    fail_at(&err, name, 1, 1, "%s", name);
    cr_assert_eq(strlen(err.text), sizeof err.text - 1);
    cr_assert_not_null(strstr(err.text, ":1:1: "));
}
