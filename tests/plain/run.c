/* run.c -- runs the tests of a program and says what failed; exit 1 if one did. Each runs in a
 * process of its own, so that a crash is one failure and nothing is left behind for the next. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PASSED = 0, FAILED = 1, SKIPPED = 77 };

static PlainTest *first;
static PlainSuite *suites;
static int verdict = PASSED; /* of this process's test */

void plain_add(PlainTest *test) {
    PlainTest **last = &first;
    while (*last) last = &(*last)->next;
    *last = test;
}

void plain_add_suite(PlainSuite *suite) {
    suite->next = suites;
    suites = suite;
}

static const PlainSuite *find_suite(const char *name) {
    static const PlainSuite none = { .name = "" };
    for (const PlainSuite *suite = suites; suite; suite = suite->next)
        if (strcmp(suite->name, name) == 0) return suite;
    return &none;
}

void plain_check(const char *file, int line, bool fatal, const char *text, int holds, ...) {
    if (holds) return;
    va_list more;
    va_start(more, holds);
    const char *format = va_arg(more, const char *);
    fprintf(stderr, "%s:%d: false: %.200s\n", file, line, text);
    if (format) {
        fputs("    ", stderr);
        vfprintf(stderr, format, more);
        fputc('\n', stderr);
    }
    va_end(more);
    verdict = FAILED;
    if (fatal) _exit(FAILED);
}

void plain_skip(const char *format, ...) {
    (void)format;
    _exit(SKIPPED);
}

/* A test in this process, with what its suite does around it. */
static void run_here(const PlainTest *test, size_t index) {
    const PlainSuite *suite = find_suite(test->suite);
    if (suite->timeout > 0) alarm((unsigned)suite->timeout);
    if (suite->init) suite->init();
    if (test->params) {
        const struct criterion_test_params params = test->params();
        test->run_with((char *)params.params + index * params.size);
    } else {
        test->run();
    }
    if (suite->fini) suite->fini();
}

/* One test with its parameter number `index`, or none. */
static int run_apart(const PlainTest *test, size_t index) {
    fflush(NULL);
    const pid_t child = fork();
    if (child < 0) return FAILED;
    if (child == 0) {
        run_here(test, index);
        _exit(verdict);
    }
    int status;
    if (waitpid(child, &status, 0) != child) return FAILED;
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    fprintf(stderr, "ended by signal %d\n", WTERMSIG(status));
    return FAILED;
}

int main(void) {
    size_t passed = 0, failed = 0, skipped = 0;
    for (const PlainTest *test = first; test; test = test->next) {
        const size_t runs = test->params ? test->params().length : 1;
        for (size_t i = 0; i < runs; i++) {
            const int result = run_apart(test, i);
            if (result == PASSED)
                passed++;
            else if (result == SKIPPED)
                skipped++;
            else
                failed++, fprintf(stderr, "FAILED %s::%s\n", test->suite, test->name);
        }
    }
    printf("%zu passed, %zu failed, %zu skipped\n", passed, failed, skipped);
    return failed || !passed ? 1 : 0;
}
