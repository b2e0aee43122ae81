/* JSON in and out: what is refused, where, and that values come back as they are. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

static Json *parse(const char *text) {
    Json *json = NULL;
    Error err;
    cr_assert_eq(json_parse(&json, "x.json", text, strlen(text), &err), OK, "%s", err.text);
    return json;
}

static void refused(const char *text, const char *expected) {
    Json *json = NULL;
    Error err = { 0 };
    cr_assert_eq(json_parse(&json, "x.json", text, strlen(text), &err), ERR_INPUT, "%s", text);
    cr_assert_null(json);
    cr_assert(strstr(err.text, expected), "%s: %s", text, err.text);
}

Test(json, values_keep_their_types) {
    Json *json =
        parse("{\"a\": 7, \"b\": 1.5, \"c\": \"x\", \"d\": true, \"e\": null, \"f\": [1, 2]}");
    long long whole = -1;
    double number = -1;
    bool flag = false;
    cr_assert(json_whole(json_get(json, "a"), &whole) && whole == 7);
    cr_assert(json_number(json_get(json, "a"), &number) && number == 7);
    cr_assert(json_number(json_get(json, "b"), &number) && number == 1.5);
    cr_assert_not(json_whole(json_get(json, "b"), &whole));
    cr_assert_eq(whole, 7, "untouched on failure");
    cr_assert_str_eq(json_text(json_get(json, "c")), "x");
    cr_assert_null(json_text(json_get(json, "a")));
    cr_assert(json_bool(json_get(json, "d"), &flag) && flag);
    cr_assert(json_is_null(json_get(json, "e")));
    cr_assert_not(json_is_null(json_get(json, "absent")));
    cr_assert_eq(json_size(json_get(json, "f")), 2);
    cr_assert(json_whole(json_at(json_get(json, "f"), 1), &whole) && whole == 2);
    cr_assert_null(json_at(json_get(json, "f"), 2));
    json_free(json);
}

Test(json, objects_are_walked_in_file_order) {
    Json *json = parse("{\"z\": 1, \"a\": 2, \"m\": 3}");
    char keys[8] = "";
    for (void *at = json_first(json); at; at = json_next(json, at)) strcat(keys, json_key(at));
    cr_assert_str_eq(keys, "zam");
    json_free(json);
}

Test(json, wrong_documents_are_refused_with_their_place) {
    refused("", "x.json:1");
    refused("{\"a\": 1, \"a\": 2}", "duplicate");
    refused("{\"a\": 1} x", "x.json:1:");
    refused("{\n  \"a\": nan\n}", "x.json:2:");
    refused("{\"a\": 99999999999999999999}", "too big");
    refused("{\"a\": 1e400}", "overflow");
    refused("\"\xff\"", "unable to decode byte 0xff");
}

Test(json, nesting_is_bounded) {
    char *deep = malloc(200001);
    memset(deep, '[', 100000);
    memset(deep + 100000, ']', 100000);
    deep[200000] = '\0';
    refused(deep, "nested deeper than 64");
    free(deep);
    json_free(parse(
        "[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]"));
}

Test(json, a_file_that_is_not_there_is_named) {
    Json *json;
    Error err;
    cr_assert_eq(json_read(&json, "/nowhere/x.json", &err), ERR_INPUT);
    cr_assert(strstr(err.text, "/nowhere/x.json"), "%s", err.text);
}

Test(json, what_is_built_is_printed, .init = cr_redirect_stdout) {
    Json *json = json_new_object(), *list = json_new_array(), *item = json_new_object();
    Error err;
    json_put_string(json, "name", "a \"b\"");
    json_put_number(json, "half", 0.5);
    json_put_number(json, "none", 0.0 / 0.0);
    json_put_whole(json, "big", 9007199254740993LL);
    json_put_bool(json, "yes", true);
    json_append(list, item);
    json_put(json, "list", list);
    cr_assert_eq(json_print(json, &err), OK);
    fflush(stdout);
    cr_assert_stdout_eq_str(
        "{\n  \"name\": \"a \\\"b\\\"\",\n  \"half\": 0.5,\n  \"none\": null,\n"
        "  \"big\": 9007199254740993,\n  \"yes\": true,\n  \"list\": [\n    {}\n"
        "  ]\n}\n");
    json_free(json);
}

Test(json, text_that_is_no_utf8_makes_printing_fail) {
    Json *json = json_new_object();
    Error err;
    json_put_string(json, "name", "\xff");
    cr_assert_eq(json_print(json, &err), ERR_MACHINE);
    json_free(json);
}
