/* criterion.h -- the part of Criterion's interface that tests of kernels/ and of threads use, where
 * there is no Criterion: on machines that programs are cross-compiled for, and under the thread
 * sanitizer, which wants the memory that Criterion puts its own into. The same test files are built
 * over either. Tests are run by run.c, each in a process of its own. */
#ifndef KVLAB_PLAIN_CRITERION_H
#define KVLAB_PLAIN_CRITERION_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct criterion_test_params {
    size_t size; /* of a parameter */
    void *params;
    size_t length;
};

typedef struct PlainTest {
    const char *suite, *name;
    void (*run)(void);
    void (*run_with)(void *param);
    struct criterion_test_params (*params)(void);
    struct PlainTest *next;
} PlainTest;

/* What is done around each test of a suite; timeout in seconds, 0: none. */
typedef struct PlainSuite {
    const char *name;
    void (*init)(void);
    void (*fini)(void);
    double timeout;
    struct PlainSuite *next;
} PlainSuite;

/* Adds a test, or a suite, to those that main knows. */
void plain_add(PlainTest *test);
void plain_add_suite(PlainSuite *suite);

/* What a check found: prints it where it is false, with the caller's format (or NULL) and what
 * belongs to it; `fatal` ends the test. */
void plain_check(const char *file, int line, bool fatal, const char *text, int holds, ...);
_Noreturn void plain_skip(const char *format, ...);

#define PLAIN_FIRST(...)         PLAIN_FIRST_(__VA_ARGS__, 0)
#define PLAIN_FIRST_(first, ...) first
#define PLAIN_REST(...)          PLAIN_REST_(__VA_ARGS__, (const char *)NULL)
#define PLAIN_REST_(first, ...)  __VA_ARGS__

#define PLAIN_REGISTER(s, n, ...)                                                                  \
    __attribute__((constructor)) static void s##_##n##_add(void) {                                 \
        static PlainTest test = { .suite = #s, .name = #n, __VA_ARGS__ };                          \
        plain_add(&test);                                                                          \
    }

#define TestSuite(s, ...)                                                                          \
    __attribute__((constructor)) static void s##_suite_add(void) {                                 \
        static PlainSuite suite = { .name = #s, __VA_ARGS__ };                                     \
        plain_add_suite(&suite);                                                                   \
    }                                                                                              \
    struct PlainSuite /* takes the semicolon */

#define Test(s, n)                                                                                 \
    static void s##_##n(void);                                                                     \
    PLAIN_REGISTER(s, n, .run = s##_##n)                                                           \
    static void s##_##n(void)

#define PLAIN_CHECK(fatal, text, holds, ...)                                                       \
    plain_check(__FILE__, __LINE__, fatal, text, holds, PLAIN_REST(__VA_ARGS__))
#define PLAIN_COMPARE(a, operator, ...)                                                            \
    PLAIN_CHECK(true, #a " " #operator" " #__VA_ARGS__, (a) operator(PLAIN_FIRST(__VA_ARGS__)),    \
                __VA_ARGS__)

#define cr_assert(...)        PLAIN_CHECK(true, #__VA_ARGS__, !!(PLAIN_FIRST(__VA_ARGS__)), __VA_ARGS__)
#define cr_expect(...)        PLAIN_CHECK(false, #__VA_ARGS__, !!(PLAIN_FIRST(__VA_ARGS__)), __VA_ARGS__)
#define cr_assert_eq(a, ...)  PLAIN_COMPARE(a, ==, __VA_ARGS__)
#define cr_assert_neq(a, ...) PLAIN_COMPARE(a, !=, __VA_ARGS__)
#define cr_assert_leq(a, ...) PLAIN_COMPARE(a, <=, __VA_ARGS__)
#define cr_assert_geq(a, ...) PLAIN_COMPARE(a, >=, __VA_ARGS__)
#define cr_assert_gt(a, ...)  PLAIN_COMPARE(a, >, __VA_ARGS__)
#define cr_assert_lt(a, ...)  PLAIN_COMPARE(a, <, __VA_ARGS__)
#define cr_assert_not(...)                                                                         \
    PLAIN_CHECK(true, "not " #__VA_ARGS__, !(PLAIN_FIRST(__VA_ARGS__)), __VA_ARGS__)
#define cr_assert_fail(...) plain_check(__FILE__, __LINE__, true, "", 0, __VA_ARGS__, NULL)
#define cr_assert_null(...)                                                                        \
    PLAIN_CHECK(true, #__VA_ARGS__ " is NULL", PLAIN_FIRST(__VA_ARGS__) == NULL, __VA_ARGS__)
#define cr_assert_not_null(...)                                                                    \
    PLAIN_CHECK(true, #__VA_ARGS__ " is not NULL", PLAIN_FIRST(__VA_ARGS__) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, ...)                                                                   \
    PLAIN_CHECK(true, #a " is " #__VA_ARGS__, strcmp(a, PLAIN_FIRST(__VA_ARGS__)) == 0, __VA_ARGS__)
#define cr_assert_str_neq(a, ...)                                                                  \
    PLAIN_CHECK(true, #a " is not " #__VA_ARGS__, strcmp(a, PLAIN_FIRST(__VA_ARGS__)) != 0,        \
                __VA_ARGS__)
#define cr_assert_arr_eq(a, b, ...)                                                                \
    PLAIN_CHECK(true, #a " holds " #b, memcmp(a, b, PLAIN_FIRST(__VA_ARGS__)) == 0, __VA_ARGS__)
#define cr_assert_float_eq(a, b, ...)                                                              \
    PLAIN_CHECK(true, #a " is near " #b,                                                           \
                fabs((double)(a) - (double)(b)) <= PLAIN_FIRST(__VA_ARGS__), __VA_ARGS__)
#define cr_skip_test(...) plain_skip(__VA_ARGS__)

#endif
