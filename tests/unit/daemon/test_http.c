#include "daemon/addresses.h"
#include "daemon/http.h"
#include "daemon/listener.h"
#include "tests/unit/daemon/temp.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>
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

static struct ks_http *start(
    char address[KS_ADDRESS_BYTES], unsigned connections_max, const struct ks_events *events)
{
    struct ks_http *http = NULL;
    int fd = -1;
    const struct ks_listen_options listen_options = {.address = "127.0.0.1:0", .flag = "--http"};
    ck_assert_int_eq(ks_listener_bind_tcp(&listen_options, &fd, address, NULL), KS_OK);
    const struct ks_http_options options = {.fds = &fd,
        .fd_count = 1,
        .connections_max = connections_max,
        .events = events,
        .is_ready = ready};
    ck_assert_int_eq(ks_http_start(&options, &http, NULL), KS_OK);
    return http;
}

START_TEST(livez_is_always_200_and_readyz_says_why_not)
{
    char address[KS_ADDRESS_BYTES];
    char text[2048];
    struct ks_http *http = start(address, 4, &ks_events_ignore);
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

START_TEST(one_connection_serves_many_requests)
{
    char address[KS_ADDRESS_BYTES];
    char text[4096];
    struct ks_http *http = start(address, 4, &ks_events_ignore);
    ask(address,
        "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"
        "HEAD /livez HTTP/1.1\r\nHost: h\r\n\r\n"
        "GET /readyz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        text, sizeof(text));
    const char *first = strstr(text, "HTTP/1.1 404 Not Found\r\n");
    const char *second = strstr(text, "HTTP/1.1 200 OK\r\n");
    const char *third = strstr(text, "HTTP/1.1 503 Service Unavailable\r\n");
    ck_assert(first == text && second > first && third > second);
    ck_assert_ptr_nonnull(strstr(third, "Connection: close\r\n"));
    /* To HEAD only how much it would be. */
    ck_assert_ptr_nonnull(strstr(second, "Content-Length: 22\r\n"));
    ck_assert_mem_eq(third - 4, "\r\n\r\n", 4);
    ks_http_stop(http);
}
END_TEST

static int connect_to(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Some tools close their half when they have asked. */
START_TEST(who_sends_no_more_still_gets_the_answer)
{
    static const char question[] = "GET /livez HTTP/1.1\r\n\r\n";
    char address[KS_ADDRESS_BYTES];
    char text[1024] = "";
    struct ks_http *http = start(address, 4, &ks_events_ignore);
    int fd = connect_to(address);
    ck_assert_int_gt((int)write(fd, question, strlen(question)), 0);
    shutdown(fd, SHUT_WR);
    ck_assert_int_gt((int)read(fd, text, sizeof(text) - 1), 0);
    ck_assert_ptr_nonnull(strstr(text, " 200 OK"));
    close(fd);
    ks_http_stop(http);
}
END_TEST

static unsigned open_files(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* A peer that takes all it can get takes no more than that, and keeps nobody out. */
START_TEST(connections_have_a_limit_and_the_next_peer_a_place)
{
    char address[KS_ADDRESS_BYTES];
    char text[1024];
    int fds[50];
    struct ks_http *http = start(address, 4, &ks_events_ignore);
    unsigned before = open_files();
    for (size_t i = 0; i < KS_COUNT_OF(fds); i++)
        fds[i] = connect_to(address);
    ask(address, "GET /livez HTTP/1.0\r\n\r\n", text, sizeof(text));
    ck_assert_ptr_nonnull(strstr(text, " 200 "));
    ck_assert_uint_le(open_files(), before + KS_COUNT_OF(fds) + 4);
    for (size_t i = 0; i < KS_COUNT_OF(fds); i++)
        close(fds[i]);
    ks_http_stop(http);
}
END_TEST

static _Atomic unsigned told;

static void note_event(
    const struct ks_events *events, enum ks_level level, const char *name, const char *fields)
{
    (void)events, (void)level, (void)fields;
    atomic_fetch_add(&told, strcmp(name, "connection.no_descriptors") == 0);
}

START_TEST(without_descriptors_the_door_waits_and_goes_on)
{
    static const struct ks_events events = {.emit = note_event};
    static const char question[] = "GET /livez HTTP/1.0\r\n\r\n";
    char address[KS_ADDRESS_BYTES];
    char text[1024] = "";
    struct sockaddr_in to = {.sin_family = AF_INET};
    struct rlimit limit;
    struct ks_http *http = start(address, 4, &events);
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int next = dup(fd);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none_left = {.rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none_left), 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    while (atomic_load(&told) == 0)
        sched_yield();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_gt((int)write(fd, question, strlen(question)), 0);
    ck_assert_int_gt((int)read(fd, text, sizeof(text) - 1), 0);
    ck_assert_ptr_nonnull(strstr(text, " 200 OK"));
    close(fd);
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
    KS_TEST(one_connection_serves_many_requests);
    KS_TEST(who_sends_no_more_still_gets_the_answer);
    KS_TEST(connections_have_a_limit_and_the_next_peer_a_place);
    KS_TEST(without_descriptors_the_door_waits_and_goes_on);
    KS_TEST(beyond_loopback_needs_the_word_insecure);
    KS_TEST(taken_port_is_told_from_other_failures);
    KS_TEST(unix_socket_replaces_only_a_stale_socket);
    KS_TEST(addresses_appear_whole_and_go);
}
