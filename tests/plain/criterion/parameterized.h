/* parameterized.h -- tests with parameters; see criterion.h beside it. */
#ifndef KVLAB_PLAIN_PARAMETERIZED_H
#define KVLAB_PLAIN_PARAMETERIZED_H

#include <criterion/criterion.h>

#define ParameterizedTestParameters(s, n) static struct criterion_test_params s##_##n##_params(void)

#define ParameterizedTest(param, s, n)                                                             \
    static void s##_##n##_with(param);                                                             \
    static void s##_##n##_any(void *given) {                                                       \
        s##_##n##_with(given);                                                                     \
    }                                                                                              \
    PLAIN_REGISTER(s, n, .run_with = s##_##n##_any, .params = s##_##n##_params)                    \
    static void s##_##n##_with(param)

#define cr_make_param_array(type, array, ...)                                                      \
    ((struct criterion_test_params){ sizeof(type), array, PLAIN_FIRST(__VA_ARGS__) })

#endif
