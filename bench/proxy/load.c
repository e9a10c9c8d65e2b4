/* A load generator: one thread, epoll. Prints one line of JSON.
 *
 * load port=N [name=value ...]
 *   clients=N        connections at once
 *   total=N          requests of all clients together
 *   new=1            a new connection for each request
 *   body=BYTES       size of the request's JSON body
 *   model=NAME  path=PATH  key=KEY  stream=1
 *   answer=TEXT      the header that tells the upstream what to answer (see upstream.c); `+` stands for a blank
 *   stall_ms=N       read nothing for this long after the first byte of an answer
 *   core=N           run on this core
 *
 * Times are in microseconds from the first byte of a request (with new=1 from before the connection is made): to the
 * end of its answer (`whole`), to the first byte of its body (`first`), and from the sending of a chunk by the upstream
 * to its arrival here (`chunk`).
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KEPT_BYTES = 65536, READ_BYTES = 1 << 20, GIVE_UP_SECONDS = 120 };

struct client {
    int fd, in_body, is_chunked, begun, waits_to_send;
    int64_t started_ns;
    long sent, body_left;      /* of this request; of an answer with a length */
    int kept_bytes;            /* of the head, or the end of a body whose rest is not here yet */
    char kept[KEPT_BYTES];
};

struct samples {
    double *values;
    long count, room;
};

static struct samples whole, first, chunk;
static struct client *clients, *stalled;
static struct sockaddr_in address;
static char *request;
static long request_bytes, client_count, to_begin, finished, failed, received_bytes, new_connections, stall_ms;
static int64_t stalled_until_ns;
static int poller;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void add(struct samples *to, int64_t nanoseconds)
{
    if (to->count == to->room) {
        to->room = to->room ? 2 * to->room : 4096;
        to->values = realloc(to->values, to->room * sizeof *to->values);
    }
    to->values[to->count++] = nanoseconds / 1e3;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print(const char *name, struct samples *of)
{
    qsort(of->values, of->count, sizeof *of->values, ascending);
    double p50 = of->count ? of->values[of->count / 2] : 0, p99 = of->count ? of->values[of->count * 99 / 100] : 0;
    double most = of->count ? of->values[of->count - 1] : 0;
    printf(", \"%s_count\": %ld, \"%s_p50\": %.1f, \"%s_p99\": %.1f, \"%s_max\": %.1f", name, of->count, name, p50, name,
           p99, name, most);
}

static const char *text_option(int argc, char **argv, const char *name, const char *otherwise)
{
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], name, strlen(name)) && argv[i][strlen(name)] == '=')
            return argv[i] + strlen(name) + 1;
    return otherwise;
}

static long option(int argc, char **argv, const char *name, long otherwise)
{
    const char *text = text_option(argc, argv, name, NULL);
    return text ? atol(text) : otherwise;
}

/* `messages` first and `model` behind it, as the OpenAI SDK writes it. */
static void build_request(int argc, char **argv)
{
    long body_bytes = option(argc, argv, "body", 935);
    char answer[64], tail[256];
    snprintf(answer, sizeof answer, "%s", text_option(argc, argv, "answer", "json+1024"));
    for (char *c = answer; *c; c++)
        *c = *c == '+' ? ' ' : *c;
    static const char start[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"";
    int tail_bytes = snprintf(tail, sizeof tail, "\"}],\"model\":\"%s\",\"stream\":%s}", text_option(argc, argv, "model", "m"),
                              option(argc, argv, "stream", 0) ? "true" : "false");
    long text = body_bytes - (long)sizeof start + 1 - tail_bytes;
    text = text > 0 ? text : 0;
    body_bytes = sizeof start - 1 + text + tail_bytes;
    request = malloc(body_bytes + 1024);
    int head = sprintf(request,
                       "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%ld\r\nUser-Agent: OpenAI/Python 2.0\r\nAccept: application/json\r\n"
                       "Authorization: Bearer %s\r\nContent-Type: application/json\r\nX-Bench: %s\r\n"
                       "Content-Length: %ld\r\n\r\n",
                       text_option(argc, argv, "path", "/v1/chat/completions"), option(argc, argv, "port", 8080),
                       text_option(argc, argv, "key", "none"), answer, body_bytes);
    memcpy(request + head, start, sizeof start - 1);
    memset(request + head + sizeof start - 1, 'x', text);
    memcpy(request + head + sizeof start - 1 + text, tail, tail_bytes);
    request_bytes = head + body_bytes;
}

static void watch(struct client *c, int operation, uint32_t what)
{
    struct epoll_event event = {.events = what, .data.ptr = c};
    epoll_ctl(poller, operation, c->fd, &event);
}

static void open_connection(struct client *c)
{
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
        perror("load: connect");
        exit(1);
    }
    c->waits_to_send = 1;
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void send_more(struct client *c)
{
    while (c->sent < request_bytes) {
        ssize_t n = write(c->fd, request + c->sent, request_bytes - c->sent);
        if (n < 0) {
            if (errno == EAGAIN || errno == ENOTCONN)
                watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            c->waits_to_send = 1;
            return;
        }
        c->sent += n;
    }
    if (c->waits_to_send && c != stalled)
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
    c->waits_to_send = 0;
}

static void begin(struct client *c)
{
    if (!to_begin)
        return;
    to_begin--;
    c->in_body = c->is_chunked = c->begun = c->kept_bytes = 0;
    c->sent = 0;
    c->started_ns = now_ns();
    if (c->fd < 0)
        open_connection(c);
    else
        send_more(c);
}

static void end(struct client *c, int ok)
{
    if (ok)
        add(&whole, now_ns() - c->started_ns);
    failed += !ok;
    finished++;
    if (!ok || new_connections) {
        close(c->fd);
        c->fd = -1;
    }
    begin(c);
}

/* Takes a piece of a chunked body; whether it is the last one. What may be half an event is kept for the next read. */
static int take_events(struct client *c, char *data, long size)
{
    int64_t now = now_ns();
    char *end_of_data = data + size, *rest = data, *at;
    while ((at = memmem(rest, end_of_data - rest, "\"t\":", 4)) && end_of_data - at >= 23) {
        add(&chunk, now - atoll(at + 4));
        rest = at + 23;
    }
    if (at)
        rest = at;
    else if (end_of_data - rest > 8)
        rest = end_of_data - 8;
    c->kept_bytes = end_of_data - rest;
    memcpy(c->kept, rest, c->kept_bytes);
    return size >= 5 && !memcmp(end_of_data - 5, "0\r\n\r\n", 5);
}

/* Takes a piece of a body; whether it is the last one. */
static int take_body(struct client *c, char *data, long size)
{
    if (!c->begun) {
        c->begun = 1;
        add(&first, now_ns() - c->started_ns);
        if (stall_ms) {
            stalled = c;
            stalled_until_ns = now_ns() + stall_ms * 1000000;
            watch(c, EPOLL_CTL_MOD, 0);
        }
    }
    if (c->is_chunked)
        return take_events(c, data, size);
    c->body_left -= size;
    return c->body_left <= 0;
}

enum taken { MORE, WHOLE, REFUSED };

static enum taken take_head(struct client *c, char *data, long size)
{
    data[size] = 0;
    char *end_of_head = strstr(data, "\r\n\r\n");
    if (!end_of_head) {
        if (size > KEPT_BYTES)
            return REFUSED;
        memcpy(c->kept, data, size);
        c->kept_bytes = size;
        return MORE;
    }
    if (strncmp(data + 9, "200", 3)) {
        fprintf(stderr, "load: %.300s\n", data);
        return REFUSED;
    }
    *end_of_head = 0;
    char *length = strcasestr(data, "\r\ncontent-length:");
    c->is_chunked = strcasestr(data, "\r\ntransfer-encoding: chunked") != NULL;
    c->body_left = length ? atol(length + 17) : 0;
    c->in_body = 1;
    long left = size - (end_of_head + 4 - data);
    return left && take_body(c, end_of_head + 4, left) ? WHOLE : MORE;
}

static enum taken take(struct client *c, char *data, long size)
{
    if (!c->in_body)
        return take_head(c, data, size);
    return take_body(c, data, size) ? WHOLE : MORE;
}

static void receive(struct client *c)
{
    static char buffer[READ_BYTES + KEPT_BYTES + 1];
    while (c != stalled) {
        int kept = c->kept_bytes;
        ssize_t n = read(c->fd, buffer + kept, READ_BYTES);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end(c, 0);
            return;
        }
        received_bytes += n;
        memcpy(buffer, c->kept, kept);
        c->kept_bytes = 0;
        enum taken taken = take(c, buffer, kept + n);
        if (taken != MORE) {
            end(c, taken == WHOLE);
            return;
        }
    }
}

static void resume(void)
{
    struct client *c = stalled;
    stalled = NULL;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static void run(void)
{
    struct epoll_event events[256];
    long total = to_begin;
    for (int i = 0; i < client_count; i++)
        begin(&clients[i]);
    while (finished < total) {
        int n = epoll_wait(poller, events, 256, stalled ? 10 : 1000);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                send_more(c);
            if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                receive(c);
        }
        if (stalled && now_ns() >= stalled_until_ns)
            resume();
    }
}

static void stay_on(long core)
{
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core, &cores);
    if (core >= 0)
        sched_setaffinity(0, sizeof cores, &cores);
}

int main(int argc, char **argv)
{
    stay_on(option(argc, argv, "core", -1));
    signal(SIGPIPE, SIG_IGN);
    alarm(GIVE_UP_SECONDS);
    client_count = option(argc, argv, "clients", 1);
    to_begin = option(argc, argv, "total", client_count);
    new_connections = option(argc, argv, "new", 0);
    stall_ms = option(argc, argv, "stall_ms", 0);
    address.sin_family = AF_INET;
    address.sin_port = htons(option(argc, argv, "port", 8080));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    build_request(argc, argv);
    poller = epoll_create1(0);
    clients = calloc(client_count, sizeof *clients);
    for (int i = 0; i < client_count; i++)
        clients[i].fd = -1;
    int64_t started_ns = now_ns();
    run();
    printf("{\"seconds\": %.6f, \"failed\": %ld, \"bytes\": %ld", (now_ns() - started_ns) / 1e9, failed, received_bytes);
    print("whole", &whole);
    print("first", &first);
    print("chunk", &chunk);
    puts("}");
    return 0;
}
