/* A fake llama-server that costs next to nothing: one thread, epoll, no allocation per request.
 *
 * upstream port=N [core=N] [ready_after_ms=N]
 *
 * What it answers is told by the request's header `X-Bench`:
 *   json BYTES                        a completion of about that size (the default, 1024)
 *   sse COUNT INTERVAL_US HOW         COUNT chunks, each with the time of its sending. HOW is `step`: all streams send at
 *                                     the same instants; `spread`: each has its own phase; `now`: the first one at once
 *   flood BYTES                       one chunked body as fast as it is taken
 * GET /health says 503 until it is ready. It prints a line then, as llama-server does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MOST_CONNECTIONS = 8192, HEAD_BYTES = 16384, PIECE_BYTES = 65536, LONGEST_JSON = 1 << 20 };
enum mode { READING, STREAMING, FLOODING };

struct connection {
    enum mode mode;
    int head_bytes;            /* read into `head` so far */
    long body_left;            /* of the request's body, to be thrown away */
    long chunks_left, interval_ns;
    int64_t due_ns;            /* of the next chunk */
    long flood_left, piece_sent;
    char answer[64];           /* the header that tells what to answer */
    int is_health, is_post;
    char head[HEAD_BYTES];
};

static struct connection *connections[MOST_CONNECTIONS];
static int highest, poller, timer, served;
static int64_t ready_ns;
static char scratch[1 << 18], flood_piece[PIECE_BYTES + 16];
static int flood_piece_bytes;

static const char DETAILS[] =
    "\"usage\":{\"completion_tokens\":100,\"prompt_tokens\":200,\"total_tokens\":300},"
    "\"timings\":{\"cache_n\":10,\"prompt_n\":190,\"prompt_ms\":12.5,\"prompt_per_second\":15200.0,"
    "\"predicted_n\":100,\"predicted_ms\":900.25,\"predicted_per_second\":111.08}";

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void drop(int fd)
{
    close(fd);
    free(connections[fd]);
    connections[fd] = NULL;
}

static void send_all(int fd, const char *data, size_t size)
{
    /* Everything but a flood fits into the socket's buffer, or the case is built wrongly. */
    if (write(fd, data, size) != (ssize_t)size && errno != EPIPE && errno != ECONNRESET)
        fprintf(stderr, "upstream: an answer did not fit into the socket\n");
}

static void send_json(int fd, long bytes, int is_post)
{
    static char out[LONGEST_JSON + 1024], body[LONGEST_JSON];
    if (bytes > LONGEST_JSON - 1024)
        bytes = LONGEST_JSON - 1024;
    /* The first answer tells how long after it was ready this server got a request to the model. */
    long late_us = !is_post || served++ ? 0 : (long)((now_ns() - ready_ns) / 1000);
    int size = sprintf(body, "{\"late_us\":%ld,\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"message\":"
                             "{\"role\":\"assistant\",\"content\":\"", late_us);
    long text = bytes - size - (long)sizeof DETAILS - 8;
    memset(body + size, 'y', text > 0 ? text : 0);
    size += text > 0 ? text : 0;
    size += sprintf(body + size, "\"}}],%s}", DETAILS);
    int head = sprintf(out, "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: application/json; charset=utf-8\r\n"
                            "Keep-Alive: timeout=5, max=100\r\nContent-Length: %d\r\n\r\n", size);
    memcpy(out + head, body, size);
    send_all(fd, out, head + size);
}

static void send_health(int fd)
{
    int ready = now_ns() >= ready_ns;
    const char *body = ready ? "{\"status\":\"ok\"}" : "{\"error\":{\"message\":\"Loading model\",\"code\":503}}";
    char out[256];
    int size = sprintf(out, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                       ready ? "200 OK" : "503 Service Unavailable", strlen(body), body);
    send_all(fd, out, size);
}

static void set_timer(void)
{
    int64_t first = INT64_MAX;
    for (int fd = 0; fd <= highest; fd++)
        if (connections[fd] && connections[fd]->mode == STREAMING && connections[fd]->due_ns < first)
            first = connections[fd]->due_ns;
    struct itimerspec when = {0};
    if (first != INT64_MAX) {
        when.it_value.tv_sec = first / 1000000000LL;
        when.it_value.tv_nsec = first % 1000000000LL;
    }
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void begin_stream(int fd, struct connection *c)
{
    char how[16] = "";
    sscanf(c->answer, "sse %ld %ld %15s", &c->chunks_left, &c->interval_ns, how);
    c->interval_ns *= 1000;
    static const char head[] = "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: text/event-stream\r\n"
                               "Keep-Alive: timeout=5, max=100\r\nTransfer-Encoding: chunked\r\n\r\n";
    send_all(fd, head, sizeof head - 1);
    c->mode = STREAMING;
    c->due_ns = now_ns();
    if (strcmp(how, "now"))
        c->due_ns = (c->due_ns / c->interval_ns + 1) * c->interval_ns; /* a grid that all streams share */
    if (!strcmp(how, "spread"))
        c->due_ns += (int64_t)fd * 7919 * 1000 % c->interval_ns;
    set_timer();
}

static void send_chunk(int fd, struct connection *c)
{
    char event[512], out[1536];
    int size = sprintf(event,
                       "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\" token\"}}],"
                       "\"created\":1790000000,\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"model\":\"m\","
                       "\"object\":\"chat.completion.chunk\",\"t\":%019lld}\n\n", (long long)now_ns());
    int written = sprintf(out, "%x\r\n%s\r\n", size, event);
    if (--c->chunks_left == 0) {
        char last[768];
        int end = sprintf(last, "data: {\"choices\":[],%s}\n\ndata: [DONE]\n\n", DETAILS);
        written += sprintf(out + written, "%x\r\n%s\r\n0\r\n\r\n", end, last);
        c->mode = READING;
    }
    c->due_ns += c->interval_ns;
    send_all(fd, out, written);
}

static void send_due(void)
{
    uint64_t expirations;
    (void)!read(timer, &expirations, sizeof expirations);
    int64_t now = now_ns();
    for (int fd = 0; fd <= highest; fd++)
        if (connections[fd] && connections[fd]->mode == STREAMING && connections[fd]->due_ns <= now)
            send_chunk(fd, connections[fd]);
    set_timer();
}

static void watch(int fd, int operation, uint32_t what)
{
    struct epoll_event event = {.events = what, .data.fd = fd};
    epoll_ctl(poller, operation, fd, &event);
}

static void flood(int fd, struct connection *c)
{
    while (c->flood_left > 0) {
        ssize_t n = write(fd, flood_piece + c->piece_sent, flood_piece_bytes - c->piece_sent);
        if (n < 0 && errno != EAGAIN) {
            drop(fd);
            return;
        }
        if (n < 0) {
            watch(fd, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        c->piece_sent += n;
        if (c->piece_sent == flood_piece_bytes) {
            c->piece_sent = 0;
            c->flood_left -= PIECE_BYTES;
        }
    }
    send_all(fd, "0\r\n\r\n", 5);
    c->mode = READING;
    watch(fd, EPOLL_CTL_MOD, EPOLLIN);
}

static void answer(int fd, struct connection *c)
{
    if (c->is_health) {
        send_health(fd);
    } else if (!strncmp(c->answer, "sse ", 4)) {
        begin_stream(fd, c);
    } else if (!strncmp(c->answer, "flood ", 6)) {
        static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n";
        send_all(fd, head, sizeof head - 1);
        c->flood_left = atol(c->answer + 6);
        c->mode = FLOODING;
        flood(fd, c);
    } else {
        send_json(fd, !strncmp(c->answer, "json ", 5) ? atol(c->answer + 5) : 1024, c->is_post);
    }
}

/* Takes the head once it is whole; whether it was. */
static int take_head(struct connection *c)
{
    c->head[c->head_bytes] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end)
        return 0;
    *end = 0;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    char *bench = strcasestr(c->head, "\r\nx-bench:");
    c->body_left = length ? atol(length + 17) : 0;
    c->is_health = !strncmp(c->head, "GET /health", 11);
    c->is_post = !strncmp(c->head, "POST ", 5);
    c->answer[0] = 0;
    if (bench)
        sscanf(bench + 10, " %63[^\r]", c->answer);
    c->body_left -= c->head_bytes - (end + 4 - c->head);
    c->head_bytes = 0;
    return 1;
}

static void receive(int fd, struct connection *c)
{
    for (;;) {
        int in_body = c->body_left > 0;
        char *into = in_body ? scratch : c->head + c->head_bytes;
        long room = in_body ? (long)sizeof scratch : HEAD_BYTES - 1 - c->head_bytes;
        ssize_t n = read(fd, into, room);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            drop(fd);
            return;
        }
        if (n < 0)
            return;
        if (in_body)
            c->body_left -= n;
        else {
            c->head_bytes += n;
            if (!take_head(c))
                continue;
        }
        if (c->body_left <= 0) {
            c->body_left = 0;
            answer(fd, c);
            return;
        }
    }
}

static void accept_all(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MOST_CONNECTIONS) {
            close(fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[fd] = calloc(1, sizeof(struct connection));
        highest = fd > highest ? fd : highest;
        watch(fd, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static long option(int argc, char **argv, const char *name, long otherwise)
{
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], name, strlen(name)) && argv[i][strlen(name)] == '=')
            return atol(argv[i] + strlen(name) + 1);
    return otherwise;
}

static int listen_on(long port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        perror("upstream: cannot listen");
        exit(1);
    }
    return fd;
}

/* One timer serves both: first the moment of readiness, from then on the streams. */
static void get_ready(void)
{
    uint64_t expirations;
    (void)!read(timer, &expirations, sizeof expirations);
    ready_ns = now_ns();
    puts("server is listening, all slots are idle");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    long core = option(argc, argv, "core", -1), delay_ms = option(argc, argv, "ready_after_ms", 0);
    if (core >= 0) {
        cpu_set_t cores;
        CPU_ZERO(&cores);
        CPU_SET(core, &cores);
        sched_setaffinity(0, sizeof cores, &cores);
    }
    signal(SIGPIPE, SIG_IGN);
    memset(flood_piece, 'z', sizeof flood_piece);
    flood_piece_bytes = PIECE_BYTES + 9;
    memcpy(flood_piece, "10000\r\n", 7);
    memcpy(flood_piece + 7 + PIECE_BYTES, "\r\n", 2);
    int listener = listen_on(option(argc, argv, "port", 8080));
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    watch(timer, EPOLL_CTL_ADD, EPOLLIN);
    ready_ns = INT64_MAX;
    struct itimerspec when = {.it_value = {delay_ms / 1000, delay_ms % 1000 * 1000000 + 1}};
    timerfd_settime(timer, 0, &when, NULL);
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(listener);
            else if (fd == timer)
                ready_ns == INT64_MAX ? get_ready() : send_due();
            else if (connections[fd] && connections[fd]->mode == FLOODING && (events[i].events & EPOLLOUT))
                flood(fd, connections[fd]);
            else if (connections[fd])
                receive(fd, connections[fd]);
        }
    }
}
