#include "tests/unit/ks_check.h"
#include "tools/ctl_param.h"
#include "tools/ctl_shorthand.h"

#include <stdio.h>
#include <unistd.h>

struct short_case {
    const char *text;
    const char *json; /* NULL: refused */
};

/* Held against the aws CLI as well: test_ctl_shorthand_oracle.py. */
static const struct short_case cases[] = {
    {"a=b", "{\"a\":\"b\"}"},
    {"Data=hello,PartitionKey=k", "{\"Data\":\"hello\",\"PartitionKey\":\"k\"}"},
    {"Data='a, b',PartitionKey=\"it's\"", "{\"Data\":\"a, b\",\"PartitionKey\":\"it's\"}"},
    {"Data='it\\'s \\\\ x',k=y", "{\"Data\":\"it's \\\\ x\",\"k\":\"y\"}"},
    {"a=b,c,d=e", "{\"a\":[\"b\",\"c\"],\"d\":\"e\"}"},
    {"a=b,c", "{\"a\":[\"b\",\"c\"]}"},
    {"a=[b,c],d=e", "{\"a\":[\"b\",\"c\"],\"d\":\"e\"}"},
    {"a={b=c,d=[e,{f=g}]}", "{\"a\":{\"b\":\"c\",\"d\":[\"e\",{\"f\":\"g\"}]}}"},
    {"a=", "{\"a\":\"\"}"},
    {"a=,b=c", "{\"a\":\"\",\"b\":\"c\"}"},
    {"a=x\\,y", "{\"a\":\"x,y\"}"},
    {"a=x y z ,b=c", "{\"a\":\"x y z\",\"b\":\"c\"}"},
    {"a = b , c = d", "{\"a\":\"b\",\"c\":\"d\"}"},
    {"Timestamp=2026-11-22T10:00:00Z", "{\"Timestamp\":\"2026-11-22T10:00:00Z\"}"},
    {"a=b=c", "{\"a\":\"b=c\"}"},
    {"a=\"é😀\"", "{\"a\":\"é😀\"}"},
    {"a=[]", "{\"a\":[]}"},
    {"a={}", "{\"a\":{}}"},
    {"", NULL},
    {"a", NULL},
    {"=b", NULL},
    {"a=b,", NULL},
    {"a=b,a=c", NULL},
    {"a='b", NULL},
    {"a=[b", NULL},
    {"a={b=c", NULL},
    {"a={b}", NULL},
    {"a=[b]c", NULL},
    {"a b=c", NULL},
    {"a=\xff", NULL},
    {"a=[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]", NULL},
};

START_TEST(the_short_form_is_read_as_the_aws_cli_does)
{
    const struct short_case *c = &cases[_i];
    json_t *value = NULL;
    struct ks_error err = KS_ERROR_INIT;
    enum ks_status st = ctl_shorthand_parse(c->text, &value, &err);
    ck_assert_int_eq(st, c->json ? KS_OK : KS_USAGE);
    if (c->json) {
        char *text = json_dumps(value, JSON_COMPACT);
        ck_assert_str_eq(text, c->json);
        free(text);
    } else {
        ck_assert(err.text[0]);
    }
    json_decref(value);
}
END_TEST

static char path[64];

/* "file://" or "fileb://" and the path of a file with these bytes. */
static const char *file_of(const char *prefix, const void *bytes, size_t count)
{
    static char text[96];
    snprintf(path, sizeof path, "/tmp/ks-param-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, count), (ssize_t)count);
    close(fd);
    snprintf(text, sizeof text, "%s%s", prefix, path);
    return text;
}

START_TEST(a_structure_is_json_or_the_short_form_or_in_a_file)
{
    json_t *value = NULL;
    ck_assert_int_eq(ctl_param_structure("x", " {\"a\": 1}", &value, NULL), KS_OK);
    ck_assert_int_eq(json_integer_value(json_object_get(value, "a")), 1);
    json_decref(value);
    ck_assert_int_eq(ctl_param_structure("x", "[1, 2]", &value, NULL), KS_OK);
    ck_assert_uint_eq(json_array_size(value), 2);
    json_decref(value);
    ck_assert_int_eq(ctl_param_structure("x", "a=b", &value, NULL), KS_OK);
    json_decref(value);
    ck_assert_int_eq(
        ctl_param_structure("x", file_of("file://", "[{\"a\": 1}]\n", 11), &value, NULL), KS_OK);
    ck_assert_uint_eq(json_array_size(value), 1);
    json_decref(value);
    unlink(path);
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ctl_param_structure("x", "{\"a\": 1", &value, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "'--x': no valid JSON, line 1, column"));
    ck_assert_int_eq(ctl_param_structure("x", "{\"a\": 1, \"a\": 2}", &value, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "duplicate"));
    ck_assert_int_eq(ctl_param_structure("x", "file:///nowhere", &value, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "'--x': cannot open '/nowhere'"));
    ck_assert_int_eq(ctl_param_structure("x", "file:///", &value, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "cannot read '/'"));
}
END_TEST

static void expect_bytes(const char *text, bool is_base64, const void *bytes, size_t count)
{
    KS_CLEANUP(ks_buf_fini) struct ks_buf buf;
    ks_buf_init(&buf, 1000);
    ck_assert_int_eq(ctl_param_bytes("x", text, is_base64, &buf, NULL), KS_OK);
    ck_assert(ks_view_equal(ks_view_of(buf.data, buf.bytes), ks_view_of(bytes, count)));
}

START_TEST(bytes_are_text_or_base64_or_in_a_file)
{
    expect_bytes("hello", false, "hello", 5);
    expect_bytes("aGVsbG8=", true, "hello", 5);
    expect_bytes("aGVsbG8=", false, "aGVsbG8=", 8);
    expect_bytes(file_of("file://", "text\n", 5), false, "text\n", 5);
    unlink(path);
    expect_bytes(file_of("file://", "aGVsbG8=\n", 9), true, "hello", 5);
    unlink(path);
    expect_bytes(file_of("fileb://", "\0\xff\n", 3), true, "\0\xff\n", 3);
    unlink(path);
    KS_CLEANUP(ks_buf_fini) struct ks_buf buf;
    ks_buf_init(&buf, 1000);
    struct ks_error err = KS_ERROR_INIT;
    ck_assert_int_eq(ctl_param_bytes("x", "!", true, &buf, &err), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "no valid base64"));
    static char large[2000];
    ck_assert_int_eq(
        ctl_param_bytes("x", file_of("fileb://", large, sizeof large), false, &buf, &err),
        KS_USAGE);
    ck_assert_ptr_nonnull(strstr(err.text, "is larger than"));
    unlink(path);
}
END_TEST

KS_SUITE("tools/ctl_param")
{
    KS_TEST_LOOP(the_short_form_is_read_as_the_aws_cli_does, (int)KS_COUNT_OF(cases));
    KS_TEST(a_structure_is_json_or_the_short_form_or_in_a_file);
    KS_TEST(bytes_are_text_or_base64_or_in_a_file);
}
