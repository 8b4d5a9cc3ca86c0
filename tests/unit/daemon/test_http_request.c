#include "daemon/http_request.h"
#include "tests/unit/ks_check.h"

static struct ks_http_request request;

static enum ks_http_parsed parse(const char *text)
{
    return ks_http_request_parse(ks_view_of_text(text), &request);
}

START_TEST(a_request_is_whole_with_its_empty_line)
{
    static const char text[] = "GET /metrics?x=1 HTTP/1.1\r\nHost: h:1\r\nAccept: */*\r\n\r\n";
    for (size_t bytes = 0; bytes < sizeof text - 1; bytes++)
        ck_assert_int_eq(ks_http_request_parse(ks_view_of(text, bytes), &request), KS_HTTP_MORE);
    ck_assert_int_eq(parse(text), KS_HTTP_WHOLE);
    ck_assert(ks_view_equal(request.method, ks_view_of_text("GET")));
    ck_assert(ks_view_equal(request.path, ks_view_of_text("/metrics")));
    ck_assert_uint_eq(request.head_bytes, sizeof text - 1);
    ck_assert(request.keeps_open && !request.has_body);
    /* What follows is the next one's. */
    ck_assert_int_eq(parse("\r\nGET http://h:1/livez HTTP/1.0\n\nGET "), KS_HTTP_WHOLE);
    ck_assert(ks_view_equal(request.path, ks_view_of_text("/livez")));
    ck_assert_uint_eq(request.head_bytes, strlen("\r\nGET http://h:1/livez HTTP/1.0\n\n"));
    ck_assert(!request.keeps_open);
    ck_assert_int_eq(parse("GET http://h HTTP/1.1\r\n\r\n"), KS_HTTP_WHOLE);
    ck_assert(ks_view_equal(request.path, ks_view_of_text("/")));
}
END_TEST

START_TEST(headers_say_how_it_goes_on)
{
    ck_assert_int_eq(parse("GET / HTTP/1.1\r\nconnection: x , Close\r\n\r\n"), KS_HTTP_WHOLE);
    ck_assert(!request.keeps_open);
    ck_assert_int_eq(parse("GET / HTTP/1.0\r\nConnection:keep-alive\r\n\r\n"), KS_HTTP_WHOLE);
    ck_assert(request.keeps_open);
    ck_assert_int_eq(parse("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), KS_HTTP_WHOLE);
    ck_assert(!request.has_body);
    ck_assert_int_eq(parse("POST / HTTP/1.1\r\nCONTENT-LENGTH: 7\r\n\r\n"), KS_HTTP_WHOLE);
    ck_assert(request.has_body);
    ck_assert_int_eq(parse("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), KS_HTTP_WHOLE);
    ck_assert(request.has_body);
}
END_TEST

START_TEST(what_is_no_request_is_refused)
{
    static const char *const wrong[] = {"complete nonsense\r\n\r\n", "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET / HTTP/1.1 \r\n\r\n",
        "GET x HTTP/1.1\r\n\r\n", "G(T / HTTP/1.1\r\n\r\n", "GET /\x01 HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\n: v\r\n\r\n",
        "GET / HTTP/1.1\r\na : v\r\n\r\n", "GET / HTTP/1.1\r\na: v\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\na: \x02\r\n\r\n", "\x16\x03\x01\x02\n"};
    for (size_t i = 0; i < KS_COUNT_OF(wrong); i++)
        ck_assert_msg(parse(wrong[i]) == KS_HTTP_BAD, "%s", wrong[i]);
    ck_assert_int_eq(
        ks_http_request_parse(ks_view_of("GET /\0 HTTP/1.1\r\n\r\n", 19), &request), KS_HTTP_BAD);
}
END_TEST

START_TEST(a_head_has_a_largest_size)
{
    static char text[KS_HTTP_HEAD_BYTES_MAX + 64];
    memset(text, 'a', sizeof text);
    struct ks_view most = ks_view_of(text, KS_HTTP_HEAD_BYTES_MAX);
    ck_assert_int_eq(ks_http_request_parse(most, &request), KS_HTTP_TOO_LARGE);
    memcpy(text, "GET / HTTP/1.1\r\nx:", 18);
    ck_assert_int_eq(ks_http_request_parse(most, &request), KS_HTTP_TOO_LARGE);
    memcpy(text + KS_HTTP_HEAD_BYTES_MAX - 4, "\r\n\r\n", 4);
    ck_assert_int_eq(ks_http_request_parse(most, &request), KS_HTTP_WHOLE);
    memcpy(text + sizeof text - 4, "\r\n\r\n", 4);
    memset(text + KS_HTTP_HEAD_BYTES_MAX - 4, 'a', 4);
    ck_assert_int_eq(
        ks_http_request_parse(ks_view_of(text, sizeof text), &request), KS_HTTP_TOO_LARGE);
}
END_TEST

KS_SUITE("daemon/http_request")
{
    KS_TEST(a_request_is_whole_with_its_empty_line);
    KS_TEST(headers_say_how_it_goes_on);
    KS_TEST(what_is_no_request_is_refused);
    KS_TEST(a_head_has_a_largest_size);
}
