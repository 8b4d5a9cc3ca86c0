#include "daemon/addresses.h"
#include "daemon/http.h"
#include "daemon/listener.h"
#include "tests/unit/daemon/temp.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/socket.h>

static _Atomic bool is_ready;

static bool ready(void *arg, char *reason, size_t bytes)
{
    (void)arg;
    snprintf(reason, bytes, "recovering, 43 %% done");
    return atomic_load(&is_ready);
}

static void ask(const char *address, const char *request, char *answer, size_t answer_bytes)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_eq((int)write(fd, request, strlen(request)), (int)strlen(request));
    size_t got = 0;
    ssize_t n;
    while ((n = read(fd, answer + got, answer_bytes - 1 - got)) > 0)
        got += (size_t)n;
    answer[got] = '\0';
    close(fd);
}

START_TEST(livez_is_always_200_and_readyz_says_why_not)
{
    char address[KS_ADDRESS_BYTES];
    char text[2048];
    struct ks_http *http = NULL;
    int fd = -1;
    struct ks_http_options options = {
        .fds = &fd, .fd_count = 1, .events = &ks_events_ignore, .is_ready = ready};
    const struct ks_listen_options listen_options = {.address = "127.0.0.1:0", .flag = "--http"};
    ck_assert_int_eq(ks_listener_bind_tcp(&listen_options, &fd, address, NULL), KS_OK);
    ck_assert_int_eq(ks_http_start(&options, &http, NULL), KS_OK);
    ask(address, "GET /livez HTTP/1.0\r\n\r\n", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, " 200 "));
    ask(address, "GET /readyz HTTP/1.0\r\n\r\n", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, " 503 "));
    ck_assert_ptr_nonnull(strstr(text, "recovering, 43 % done"));
    atomic_store(&is_ready, true);
    ask(address, "GET /readyz HTTP/1.0\r\n\r\n", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, " 200 "));
    ask(address, "GET /nothing HTTP/1.0\r\n\r\n", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, " 404 "));
    ask(address, "POST /livez HTTP/1.0\r\nContent-Length: 0\r\n\r\n", text, sizeof(text));
    ck_assert_ptr_null(strstr(text, " 200 "));
    ask(address, "complete nonsense\r\n\r\n", text, sizeof(text));
    ks_http_stop(http);
}
END_TEST

START_TEST(beyond_loopback_needs_the_word_insecure)
{
    char address[KS_ADDRESS_BYTES];
    int fd = -1;
    struct ks_error error = KS_ERROR_INIT;
    struct ks_listen_options options = {.address = "0.0.0.0:0", .flag = "--listen"};
    ck_assert_int_eq(ks_listener_bind_tcp(&options, &fd, address, &error), KS_USAGE);
    ck_assert_ptr_nonnull(strstr(error.text, "--insecure"));
    const char *const malformed[] = {
        "", "7420", ":7420", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "[::1:7"};
    for (size_t i = 0; i < KS_COUNT_OF(malformed); i++) {
        options.address = malformed[i];
        ck_assert_int_eq(ks_listener_bind_tcp(&options, &fd, address, &error), KS_USAGE);
    }
}
END_TEST

START_TEST(taken_port_is_told_from_other_failures)
{
    char address[KS_ADDRESS_BYTES];
    char again[KS_ADDRESS_BYTES];
    int fd = -1;
    int second = -1;
    struct ks_error error = KS_ERROR_INIT;
    struct ks_listen_options options = {.address = "127.0.0.1:0", .flag = "--listen"};
    ck_assert_int_eq(ks_listener_bind_tcp(&options, &fd, address, &error), KS_OK);
    options.address = address;
    /* From the bind on, also while the broker that has it recovers. */
    ck_assert_int_eq(ks_listener_bind_tcp(&options, &second, again, &error), KS_IN_USE);
    ck_assert_ptr_nonnull(strstr(error.text, address));
    close(fd);
}
END_TEST

START_TEST(unix_socket_replaces_only_a_stale_socket)
{
    char folder[64];
    char path[128];
    int fd = -1;
    int second = -1;
    struct ks_error error = KS_ERROR_INIT;
    struct stat stat_;
    temp_make(folder);
    snprintf(path, sizeof(path), "%s/s", folder);
    ck_assert_int_eq(ks_listener_bind_unix(path, &fd, &error), KS_OK);
    ck_assert_int_eq(stat(path, &stat_), 0);
    ck_assert_uint_eq(stat_.st_mode & 0777, 0660);
    /* From the bind on, also while the broker that has it recovers. */
    ck_assert_int_eq(ks_listener_bind_unix(path, &second, &error), KS_IN_USE);
    ck_assert_ptr_nonnull(strstr(error.text, path));
    close(fd);
    ck_assert_int_eq(ks_listener_bind_unix(path, &second, &error), KS_OK);
    close(second);
    unlink(path);
    temp_write(folder, "s", "precious");
    ck_assert_int_eq(ks_listener_bind_unix(path, &second, &error), KS_IN_USE);
    temp_remove(folder);
}
END_TEST

START_TEST(addresses_appear_whole_and_go)
{
    char folder[64];
    char path[128];
    char text[512] = "";
    struct ks_addresses addresses = {.native = "127.0.0.1:7420", .unix_path = "/run/k"};
    temp_make(folder);
    snprintf(path, sizeof(path), "%s/addresses", folder);
    ck_assert_int_eq(ks_addresses_write(folder, &addresses, NULL), KS_OK);
    FILE *file = fopen(path, "r");
    ck_assert_uint_gt(fread(text, 1, sizeof(text) - 1, file), 0);
    fclose(file);
    ck_assert_str_eq(text, "native=127.0.0.1:7420\nunix=/run/k\n");
    ks_addresses_remove(folder);
    ck_assert_int_ne(access(path, F_OK), 0);
    temp_remove(folder);
}
END_TEST

KS_SUITE("daemon/http")
{
    KS_TEST(livez_is_always_200_and_readyz_says_why_not);
    KS_TEST(beyond_loopback_needs_the_word_insecure);
    KS_TEST(taken_port_is_told_from_other_failures);
    KS_TEST(unix_socket_replaces_only_a_stale_socket);
    KS_TEST(addresses_appear_whole_and_go);
}
