/* loadgen - fan-out load generator for TLS chat servers.
 *
 * Opens N TLS (optionally mutual-TLS) connections, puts them in rooms, lets S
 * senders per room send marked messages and checks and times every copy that
 * comes back on every connection.  One thread, epoll, nonblocking OpenSSL.
 *
 * Each message starts with the marker   T=<monotonic ns>;S=<sender>;N=<seq>;
 * or, in a body that must look like base64,   T+<monotonic ns>+S+<sender>+N+<seq>+
 * A delivery is any received line with a marker anywhere in it, so the generator
 * does not need to know the server's framing beyond "lines end in \n".
 *
 * Identities: one certificate for all, a few shared in turn (--cert with %d), or
 * one per connection (--client-certs), for servers that take it for the user.
 *
 * Dialects:
 *   irc    NICK/USER, JOIN, PRIVMSG, answers PING
 *   json   newline-delimited lines made from templates (see usage())
 *
 * Build: cc -O2 -Wall -o loadgen loadgen.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------ options */
enum dialect { D_IRC, D_JSON };

static struct {
    const char *host;
    int port;
    enum dialect dialect;
    int n;                 /* connections in all */
    int rooms;             /* connection i is in room i % rooms */
    int senders;           /* senders per room */
    int size;              /* bytes of text per message */
    int opaque;            /* --body e2ee: base64 alphabet only */
    double rate;           /* messages/s per sender; 0: closed loop */
    int window;            /* closed loop: messages in flight per sender */
    int msgs;              /* messages per sender at most */
    double seconds;        /* stop sending after this long; 0: no limit */
    int conc;              /* handshakes in flight at once */
    double settle;         /* quiet time after joining, before load */
    double stall;          /* give up after this long with nothing delivered */
    int echo;              /* server sends a message back to its own sender */
    int deaf;              /* the last so many connections stop reading under load */
    int nojoin;            /* stop after registration (handshake storm) */
    int gate;              /* nobody joins until all are registered (reconnect storm) */
    unsigned long long first_n;     /* where each connection's %n starts */
    int resume;            /* resume TLS sessions */
    const char *ca, *cert, *key, *groups, *tls, *ciphers;
    int ncert;             /* %d in cert/key counts 0..ncert-1 */
    const char *client_certs;       /* folder: connection i is bot%04d of it ... */
    int first_bot;                  /* ... counted from here */
    int first_room;                 /* number in the name of the first room */
    const char *hello, *welcome, *join, *joined, *chat;
    const char *ping, *pong;        /* substring of a heartbeat, its answer */
    const char *refusal;            /* substring of a line that refuses something */
    const char *room_prefix, *nick_prefix;
    int pids[16];
    int npids;
    int core;              /* the server's core, for its busy time */
    const char *label;
    int json_out;
} o = {
    .host = "127.0.0.1", .port = 6697, .dialect = D_IRC, .n = 100, .rooms = 1,
    .senders = 10, .size = 200, .window = 8, .msgs = 1000000000, .seconds = 0,
    .conc = 64, .settle = 0.5, .stall = 5, .echo = -1, .ncert = 1, .first_n = 1, .first_bot = 1,
    .hello = "{\"t\":\"hello\",\"u\":\"%u\"}", .welcome = "\"welcome\"",
    .join = "{\"t\":\"join\",\"r\":\"%r\"}", .joined = "\"joined\"",
    .chat = "{\"t\":\"msg\",\"r\":\"%r\",\"x\":\"%s\"}",
    .ping = "", .pong = "", .refusal = "",
    .room_prefix = NULL, .nick_prefix = "u", .label = "run", .tls = "",
};

static void usage(void)
{
    puts(
"loadgen [options]\n"
"  --host A --port P         server (default 127.0.0.1 6697)\n"
"  --dialect irc|json\n"
"  --n N --rooms R           N connections, connection i in room i%R\n"
"  --senders S --size B      senders per room, bytes of text per message\n"
"  --body text|e2ee          readable text, or opaque base64 letters, other ones in\n"
"                            each message (B is then rounded up to a multiple of 4)\n"
"  --rate R                  messages/s per sender (open loop); 0 = closed loop\n"
"  --window W                closed loop: undelivered messages per sender\n"
"  --msgs M --seconds T      stop sending after M per sender or T seconds\n"
"  --conc C                  handshakes in flight at once\n"
"  --settle T --stall T      quiet time before load; give-up time\n"
"  --echo 0|1                sender gets its own message back (irc 0, else 1)\n"
"  --deaf K                  the last K connections stop reading under load; they are\n"
"                            not expected to receive, only not to harm the others\n"
"  --nojoin                  stop after registration\n"
"  --gate                    nobody joins until all are registered; reports storm_ms\n"
"  --resume                  resume TLS sessions after a first connection\n"
"  --ca F --cert F --key F   PEM files; %d in cert/key = connection % --ncert\n"
"  --client-certs DIR        one identity per connection: DIR/bot0001.crt, .key, ...\n"
"  --first-bot N             the number of the first of them (default 1)\n"
"  --groups L --tls 1.2|1.3 --ciphers L   TLS choices\n"
"  --hello T --join T --chat T   line templates: %u user %r room %s text, and %n a\n"
"                            number that grows by one each time, per connection\n"
"  --first-n N               where %n starts (default 1)\n"
"  --welcome S --joined S    substrings acknowledging hello and join\n"
"  --ping-substr S --pong T  answer a line that contains S with T\n"
"  --refusal-substr S        a line that contains S refuses something: counted, the\n"
"                            first ones printed\n"
"  --room-prefix S --nick-prefix S   names of rooms and users before their number\n"
"  --first-room N            the number of the first room (default 0)\n"
"  --pid P[,P...]            server processes to account CPU and memory for\n"
"  --core C                  core the server is pinned to (default 0)\n"
"  --label L --json          name of the run; print one JSON line only\n");
    exit(2);
}

/* ---------------------------------------------------------------- utilities */
static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* Log-linear histogram: 64 steps per doubling, so values are within ~1.6 %. */
#define HB 64
struct hist { uint64_t n, max, sum; uint32_t b[64 * HB]; };
static int hslot(uint64_t v)
{
    if (v < HB) return (int)v;
    int e = 63 - __builtin_clzll(v);
    return (e - 5) * HB + (int)((v >> (e - 6)) & (HB - 1));
}
static uint64_t hvalue(int s)
{
    if (s < HB) return s;
    int e = s / HB + 5;
    return (1ull << e) + ((uint64_t)(s % HB) << (e - 6));
}
static void hadd(struct hist *h, uint64_t v)
{
    h->b[hslot(v)]++; h->n++; h->sum += v;
    if (v > h->max) h->max = v;
}
static double hq_ms(const struct hist *h, double q)
{
    uint64_t want = (uint64_t)(q * h->n), seen = 0;
    for (int i = 0; i < 64 * HB; i++) {
        seen += h->b[i];
        if (h->b[i] && seen >= want) return hvalue(i) / 1e6;
    }
    return 0;
}

/* CPU seconds and memory of the server processes, and of the whole machine. */
struct usage { double cpu; long rss, pss, hwm; };
static struct usage server_usage(int with_pss)
{
    struct usage u = {0};
    for (int i = 0; i < o.npids; i++) {
        char path[64], line[512];
        snprintf(path, sizeof path, "/proc/%d/stat", o.pids[i]);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        size_t k = fread(line, 1, sizeof line - 1, f);
        line[k] = 0; fclose(f);
        char *p = strrchr(line, ')');
        unsigned long ut = 0, st = 0;
        if (p) sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &ut, &st);
        u.cpu += (double)(ut + st) / sysconf(_SC_CLK_TCK);
        snprintf(path, sizeof path, "/proc/%d/status", o.pids[i]);
        if ((f = fopen(path, "r"))) {
            long v;
            while (fgets(line, sizeof line, f)) {
                if (sscanf(line, "VmRSS: %ld", &v) == 1) u.rss += v;
                if (sscanf(line, "VmHWM: %ld", &v) == 1) u.hwm += v;
            }
            fclose(f);
        }
        if (with_pss) {
            snprintf(path, sizeof path, "/proc/%d/smaps_rollup", o.pids[i]);
            if ((f = fopen(path, "r"))) {
                long v;
                while (fgets(line, sizeof line, f))
                    if (sscanf(line, "Pss: %ld", &v) == 1) u.pss += v;
                fclose(f);
            }
        }
    }
    return u;
}
static double self_cpu(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_utime.tv_usec / 1e6 +
           r.ru_stime.tv_sec + r.ru_stime.tv_usec / 1e6;
}
/* Busy seconds of each core (all states but idle and iowait; loopback's receive work
 * is softirq, done in the name of whoever happens to run), and the machine's
 * user+system and softirq seconds, from which what other programs used can be told. */
struct cores { double busy[64], softirq, run; int n; };
static struct cores cores_now(void)
{
    struct cores r = {0};
    char line[512];
    double hz = sysconf(_SC_CLK_TCK), v[8];
    FILE *f = fopen("/proc/stat", "r");
    if (!f) return r;
    while (fgets(line, sizeof line, f)) {
        int cpu;
        if (!strncmp(line, "cpu ", 4)) {
            if (sscanf(line + 4, "%lf %lf %lf %lf %lf %lf %lf", v, v+1, v+2, v+3, v+4, v+5, v+6) == 7) {
                r.run = (v[0] + v[1] + v[2]) / hz;
                r.softirq = (v[5] + v[6]) / hz;
            }
        } else if (sscanf(line, "cpu%d %lf %lf %lf %lf %lf %lf %lf", &cpu, v, v+1, v+2, v+3, v+4, v+5, v+6) == 8 && cpu < 64) {
            r.busy[cpu] = (v[0] + v[1] + v[2] + v[5] + v[6]) / hz;
            if (cpu >= r.n) r.n = cpu + 1;
        }
    }
    fclose(f);
    return r;
}

/* -------------------------------------------------------------- connections */
enum state { C_NEW, C_TCP, C_TLS, C_REG, C_GATE, C_JOIN, C_READY, C_DEAD };

struct conn {
    int fd, idx, room, sender;      /* sender: index over all rooms, or -1 */
    enum state state;
    SSL *ssl;
    uint64_t t_open;
    char *part; int plen, pcap;     /* an unfinished line */
    char *out; int olen, ocap;      /* bytes still to write */
    uint32_t events;
    int hint;                       /* where the marker was in the last line */
    int next, inflight;             /* sender: next seq, undelivered */
    unsigned long long n;           /* the last %n given out */
    uint64_t due;
    int waiting;                    /* on the ready-to-send stack */
};

static struct conn *cs;
static int ep, n_ready, n_reg, n_dead, n_open, n_inprogress, n_tls;
static SSL_CTX **ctxs;
static X509 **id_cert;              /* --client-certs: one per connection */
static EVP_PKEY **id_key;
static SSL_SESSION *saved;
static int n_resumed;
static int per_room, nsend;         /* members of a room, senders in all */
static uint64_t sent, delivered, dups, ooo, misrouted, unknown, bad_close, pongs, refusals;
static uint64_t bytes_in, reads_in;
static int *sender_conn;            /* sender -> connection */
static uint32_t *left;              /* [sender*msgs+seq] copies still to come */
static uint8_t **seen;              /* [member slot] bitmap over sender,seq */
static int *last;                   /* [conn*senders+local sender] last seq */
static int maxseq;
static struct hist lat, hs_lat;
static uint64_t t_first_open, t_last_tls, t_last_reg, t_last_ready, t_last_delivery;
static int loading, gate_open;
static int *stack, nstack;          /* senders with window to spare */

static void want(struct conn *c, uint32_t ev)
{
    if (ev == c->events) return;
    struct epoll_event e = {.events = ev, .data.ptr = c};
    if (epoll_ctl(ep, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e)) die("epoll_ctl");
    c->events = ev;
}

/* Connections expected to receive what is said in room r. */
static int room_members(int r)
{
    int k = o.n / o.rooms + (r < o.n % o.rooms);
    for (int i = o.n - o.deaf; i < o.n; i++) k -= i % o.rooms == r;
    return k;
}

static void kill_conn(struct conn *c, const char *why)
{
    if (c->state == C_DEAD) return;
    if (n_dead++ < 5) {
        unsigned long e = ERR_peek_error();
        fprintf(stderr, "loadgen: conn %d lost in state %d: %s %s\n", c->idx, c->state, why,
                e ? ERR_reason_error_string(e) : "");
    }
    ERR_clear_error();
    if (c->state < C_REG) n_inprogress--;
    if (c->state == C_READY) n_ready--;
    c->state = C_DEAD;
    bad_close++;
    close(c->fd);
}

static void flush_out(struct conn *c)
{
    while (c->olen) {
        int k = SSL_write(c->ssl, c->out, c->olen > 16384 ? 16384 : c->olen);
        if (k > 0) {
            c->olen -= k;
            memmove(c->out, c->out + k, c->olen);
            continue;
        }
        int e = SSL_get_error(c->ssl, k);
        if (e == SSL_ERROR_WANT_WRITE) { want(c, EPOLLIN | EPOLLOUT); return; }
        if (e == SSL_ERROR_WANT_READ) { want(c, EPOLLIN); return; }
        kill_conn(c, "write");
        return;
    }
    want(c, EPOLLIN);
}

/* Queue one line. */
static void put(struct conn *c, const char *s, int len)
{
    if (c->olen + len + 16 > c->ocap) {
        c->ocap = (c->olen + len + 16) * 2;
        c->out = realloc(c->out, c->ocap);
    }
    memcpy(c->out + c->olen, s, len);
    c->olen += len;
}

static int room_name(char *b, int r)
{
    const char *pre = o.room_prefix ? o.room_prefix : o.dialect == D_IRC ? "#room" : "room";
    return sprintf(b, "%s%d", pre, r + o.first_room);
}

/* The user's name: the certificate's where each connection has its own. */
static int user_name(char *b, const struct conn *c)
{
    return o.client_certs ? sprintf(b, "bot%04d", c->idx + o.first_bot) : sprintf(b, "%s%d", o.nick_prefix, c->idx);
}

/* Expand %u %r %s %n in a template and add the newline.  %n is the same number
 * everywhere in one line; any other % stands for itself. */
static int expand(char *b, const char *t, struct conn *c, const char *text, int tlen)
{
    char *p = b;
    int counted = 0;
    for (; *t; t++) {
        switch (*t == '%' ? t[1] : 0) {
        case 'u': p += user_name(p, c); t++; break;
        case 'r': p += room_name(p, c->room); t++; break;
        case 's': memcpy(p, text, tlen); p += tlen; t++; break;
        case 'n': if (!counted++) c->n++; p += sprintf(p, "%llu", c->n); t++; break;
        default: *p++ = *t;
        }
    }
    *p++ = '\n';
    return p - b;
}

static void send_hello(struct conn *c)
{
    char b[2048], u[128];
    int k;
    user_name(u, c);
    if (o.dialect == D_IRC)
        k = sprintf(b, "NICK %s\r\nUSER %s 0 * :load\r\n", u, u);
    else
        k = expand(b, o.hello, c, "", 0);
    c->state = C_REG;
    put(c, b, k);
    flush_out(c);
}

static void now_ready(struct conn *c)
{
    c->state = C_READY;
    n_ready++;
    t_last_ready = now_ns();
}

static void send_join(struct conn *c)
{
    char b[2048], r[128];
    int k;
    if (o.dialect == D_IRC) { room_name(r, c->room); k = sprintf(b, "JOIN %s\r\n", r); }
    else k = expand(b, o.join, c, "", 0);
    c->state = C_JOIN;
    put(c, b, k);
    if (o.dialect != D_IRC && !*o.joined) now_ready(c);
    flush_out(c);
}

static void registered(struct conn *c)
{
    n_reg++;
    t_last_reg = now_ns();
    if (o.nojoin) now_ready(c);
    else if (o.gate && !gate_open) c->state = C_GATE;
    else send_join(c);
}

/* Let everyone join who waits at the gate. */
static void open_gate(void)
{
    gate_open = 1;
    for (int i = 0; i < o.n; i++) if (cs[i].state == C_GATE) send_join(&cs[i]);
}

static void tls_done(struct conn *c)
{
    uint64_t t = now_ns();
    hadd(&hs_lat, t - c->t_open);
    t_last_tls = t;
    n_tls++; n_inprogress--;
    if (SSL_session_reused(c->ssl)) n_resumed++;
    send_hello(c);
}

static void step_tls(struct conn *c)
{
    int k = SSL_connect(c->ssl);
    if (k == 1) { want(c, EPOLLIN); tls_done(c); return; }
    int e = SSL_get_error(c->ssl, k);
    if (e == SSL_ERROR_WANT_READ) want(c, EPOLLIN);
    else if (e == SSL_ERROR_WANT_WRITE) want(c, EPOLLIN | EPOLLOUT);
    else kill_conn(c, "handshake");
}

static void open_conn(struct conn *c)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(o.port)};
    inet_pton(AF_INET, o.host, &a.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->t_open = now_ns();
    if (!t_first_open) t_first_open = c->t_open;
    n_inprogress++; n_open++;
    c->state = C_TCP;
    if (connect(c->fd, (void *)&a, sizeof a) && errno != EINPROGRESS) { kill_conn(c, "connect"); return; }
    want(c, EPOLLOUT);
}

static void tcp_done(struct conn *c)
{
    int err = 0;
    socklen_t sl = sizeof err;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &sl);
    if (err) { errno = err; kill_conn(c, strerror(err)); return; }
    c->ssl = SSL_new(ctxs[c->idx % o.ncert]);
    if (o.client_certs && (SSL_use_certificate(c->ssl, id_cert[c->idx]) != 1 ||
                           SSL_use_PrivateKey(c->ssl, id_key[c->idx]) != 1)) die("identity");
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, "localhost");
    if (o.resume && saved) {
        /* A copy: OpenSSL retires a TLS 1.3 session object once used. */
        SSL_SESSION *d = SSL_SESSION_dup(saved);
        SSL_set_session(c->ssl, d);
        SSL_SESSION_free(d);
    }
    c->state = C_TLS;
    step_tls(c);
}

/* ------------------------------------------------------------------- senders */
static void push_sender(int s)
{
    struct conn *c = &cs[sender_conn[s]];
    if (!c->waiting) { c->waiting = 1; stack[nstack++] = s; }
}

/* Letters for opaque bodies: base64's, without '+', which only markers have. */
static char letters[65536 + 16384];
static void fill_letters(void)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/A";
    for (size_t i = 0; i < sizeof letters; i++) letters[i] = alphabet[random() & 63];
}

/* The marker and what fills the message up to its size. */
static int body(char *b, struct conn *c, uint64_t t)
{
    static unsigned from;           /* each opaque body is another stretch of the letters */
    unsigned long long ns = t;
    int k;
    if (o.opaque) {
        k = sprintf(b, "T+%llu+S+%d+N+%d+", ns, c->sender, c->next);
        int size = ((k > o.size ? k : o.size) + 3) & ~3;
        memcpy(b + k, letters + (from += 40503) % 65536, size - k);
        return size;
    }
    k = sprintf(b, "T=%llu;S=%d;N=%d;", ns, c->sender, c->next);
    while (k < o.size) { b[k] = 'a' + k % 26; k++; }
    return k;
}

static void send_one(struct conn *c, uint64_t t)
{
    char text[16384], line[20000];
    int s = c->sender;
    int k = body(text, c, t), n;
    if (o.dialect == D_IRC) {
        char r[128];
        room_name(r, c->room);
        n = sprintf(line, "PRIVMSG %s :%.*s\r\n", r, k, text);
    } else
        n = expand(line, o.chat, c, text, k);
    int copies = room_members(c->room) - (o.echo ? 0 : 1);
    left[(size_t)s * maxseq + c->next] = copies;
    c->next++; c->inflight++;
    sent++;
    put(c, line, n);
    flush_out(c);
}

/* ------------------------------------------------------------------ receiving */
static inline const char *number(const char *p, const char *e, uint64_t *v)
{
    uint64_t x = 0;
    const char *q = p;
    while (p < e && (unsigned)(*p - '0') < 10) x = x * 10 + (*p++ - '0');
    *v = x;
    return p == q ? NULL : p;
}

struct mark { uint64_t ts, s, n; };

/* Is there a whole marker at p? */
static inline int mark_at(const char *p, const char *e, struct mark *m)
{
    const char is = o.opaque ? '+' : '=', end = o.opaque ? '+' : ';';
    return e - p >= 12 && p[0] == 'T' && p[1] == is && (p = number(p + 2, e, &m->ts)) &&
           e - p > 3 && p[0] == end && p[1] == 'S' && p[2] == is && (p = number(p + 3, e, &m->s)) &&
           e - p > 3 && p[0] == end && p[1] == 'N' && p[2] == is && (p = number(p + 3, e, &m->n)) &&
           p < e && *p == end;
}

/* Look for a marker in a line: first where the last one was, as lines resemble
 * each other, then everywhere. */
static int find_mark(struct conn *c, const char *p, const char *e, struct mark *m)
{
    if (e - p > c->hint && mark_at(p + c->hint, e, m)) return 1;
    const char *open = o.opaque ? "T+" : "T=";
    for (const char *q = p; (q = memmem(q, e - q, open, 2)); q++)
        if (mark_at(q, e, m)) { c->hint = q - p; return 1; }
    return 0;
}

/* Account for one copy of a message. */
static void arrived(struct conn *c, const struct mark *k, uint64_t t)
{
    uint64_t ts = k->ts, s = k->s, n = k->n;
    if (s >= (uint64_t)nsend || n >= (uint64_t)maxseq) { unknown++; return; }
    struct conn *f = &cs[sender_conn[s]];
    if (f->room != c->room) { misrouted++; return; }
    if (c->idx >= o.n - o.deaf) return;
    size_t local = s % o.senders, bit = local * maxseq + n;
    uint8_t *m = &seen[c->idx][bit >> 3];
    if (*m >> (bit & 7) & 1) { dups++; return; }
    *m |= 1 << (bit & 7);
    int *l = &last[(size_t)c->idx * o.senders + local];
    if ((int)n < *l) ooo++; else *l = n;
    delivered++;
    t_last_delivery = t;
    hadd(&lat, t > ts ? t - ts : 0);
    if (--left[s * maxseq + n] == 0) {
        f->inflight--;
        if (loading) push_sender(s);
    }
}

static int contains(const char *p, int len, const char *what)
{
    return *what && memmem(p, len, what, strlen(what));
}

static void line_in(struct conn *c, const char *p, const char *e, uint64_t t)
{
    int len = e - p;
    struct mark m;
    if (c->state == C_READY && find_mark(c, p, e, &m)) { arrived(c, &m, t); return; }
    if (contains(p, len, o.ping)) {
        char b[2048];
        put(c, b, expand(b, o.pong, c, "", 0));
        flush_out(c);
        pongs++;
        return;
    }
    if (contains(p, len, o.refusal) && refusals++ < 3)
        fprintf(stderr, "loadgen: refused: %.*s\n", len < 300 ? len : 300, p);
    if (o.dialect == D_IRC) {
        if (len > 5 && !memcmp(p, "PING ", 5)) {
            char b[600];
            int k = snprintf(b, sizeof b, "PONG %.*s\r\n", len - 5 > 500 ? 500 : len - 5 - (e[-1] == '\r'), p + 5);
            put(c, b, k);
            flush_out(c);
        } else if (c->state == C_REG && memmem(p, len < 64 ? len : 64, " 001 ", 5)) registered(c);
        else if (c->state == C_JOIN && *p == ':' && memmem(p, len < 64 ? len : 64, " 366 ", 5)) now_ready(c);
        else if (len > 5 && !memcmp(p, "ERROR", 5)) fprintf(stderr, "loadgen: %.*s\n", len, p);
        else if (c->state == C_REG && memmem(p, len, " 433 ", 5)) fprintf(stderr, "loadgen: nick in use\n");
    } else if (c->state == C_REG) {
        if (memmem(p, len, o.welcome, strlen(o.welcome))) registered(c);
    } else if (c->state == C_JOIN) {
        if (memmem(p, len, o.joined, strlen(o.joined))) now_ready(c);
    }
}

static char big[1 << 20];

static void readable(struct conn *c)
{
    for (int round = 0; round < 8 && c->state != C_DEAD; round++) {
        int have = c->plen;
        if (have) { memcpy(big, c->part, have); c->plen = 0; }
        int got = 0, k;
        /* Gather every record that is already here before parsing. */
        do {
            k = SSL_read(c->ssl, big + have + got, 32768);
            if (k > 0) { got += k; reads_in++; }
        } while (k > 0 && got < 262144);
        int e = k > 0 ? 0 : SSL_get_error(c->ssl, k);
        uint64_t t = now_ns();
        bytes_in += got;
        char *p = big, *end = big + have + got, *nl, *from = big + have;
        while ((nl = memchr(from, '\n', end - from))) {
            line_in(c, p, nl, t);
            if (c->state == C_DEAD) return;
            p = from = nl + 1;
        }
        if (p < end) {
            int rest = end - p;
            if (rest > c->pcap) { c->pcap = rest + 512; c->part = realloc(c->part, c->pcap); }
            memcpy(c->part, p, rest);
            c->plen = rest;
        }
        if (k > 0) continue;
        if (e == SSL_ERROR_WANT_READ) return;
        if (e == SSL_ERROR_WANT_WRITE) { want(c, EPOLLIN | EPOLLOUT); return; }
        kill_conn(c, e == SSL_ERROR_ZERO_RETURN ? "server closed" : "read");
        return;
    }
}

static void pump(int64_t timeout_ns)
{
    struct epoll_event ev[512];
    struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    int k = epoll_pwait2(ep, ev, 512, timeout_ns < 0 ? NULL : &ts, NULL);
    if (k < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < k; i++) {
        struct conn *c = ev[i].data.ptr;
        if (c->state == C_DEAD) continue;
        if (c->state == C_TCP) { tcp_done(c); continue; }
        if (c->state == C_TLS) { step_tls(c); continue; }
        if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
        if (c->state != C_DEAD && c->olen && (ev[i].events & EPOLLOUT)) flush_out(c);
    }
}

/* ----------------------------------------------------------------------- TLS */
static int new_session(SSL *s, SSL_SESSION *sess)
{
    (void)s;
    SSL_SESSION_free(saved);        /* keep the newest */
    saved = sess;
    return 1;
}

static FILE *pem_file(int i, const char *ending)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/bot%04d.%s", o.client_certs, i + o.first_bot, ending);
    FILE *f = fopen(path, "r");
    if (!f) die(path);
    return f;
}

/* Read everyone's certificate and key before anything is timed. */
static void load_identities(void)
{
    id_cert = calloc(o.n, sizeof *id_cert);
    id_key = calloc(o.n, sizeof *id_key);
    for (int i = 0; i < o.n; i++) {
        FILE *f = pem_file(i, "crt");
        id_cert[i] = PEM_read_X509(f, NULL, NULL, NULL);
        fclose(f);
        f = pem_file(i, "key");
        id_key[i] = PEM_read_PrivateKey(f, NULL, NULL, NULL);
        fclose(f);
        if (!id_cert[i] || !id_key[i]) die("identity");
    }
}

static void make_ctx(void)
{
    ctxs = calloc(o.ncert, sizeof *ctxs);
    for (int i = 0; i < o.ncert; i++) {
        SSL_CTX *x = ctxs[i] = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_mode(x, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        SSL_CTX_set_read_ahead(x, 1);
        SSL_CTX_set_default_read_buffer_len(x, 65536);
        SSL_CTX_set_options(x, SSL_OP_IGNORE_UNEXPECTED_EOF);
        int v = !strcmp(o.tls, "1.2") ? TLS1_2_VERSION : !strcmp(o.tls, "1.3") ? TLS1_3_VERSION : 0;
        SSL_CTX_set_min_proto_version(x, v ? v : TLS1_2_VERSION);
        if (v) SSL_CTX_set_max_proto_version(x, v);
        if (o.groups && !SSL_CTX_set1_groups_list(x, o.groups)) die("groups");
        if (o.ciphers && !SSL_CTX_set_ciphersuites(x, o.ciphers) && !SSL_CTX_set_cipher_list(x, o.ciphers)) die("ciphers");
        if (o.ca) {
            if (!SSL_CTX_load_verify_locations(x, o.ca, NULL)) die("ca");
            SSL_CTX_set_verify(x, SSL_VERIFY_PEER, NULL);
        }
        if (o.cert) {
            char cf[512], kf[512];
            snprintf(cf, sizeof cf, o.cert, i);
            snprintf(kf, sizeof kf, o.key ? o.key : o.cert, i);
            if (SSL_CTX_use_certificate_chain_file(x, cf) != 1 ||
                SSL_CTX_use_PrivateKey_file(x, kf, SSL_FILETYPE_PEM) != 1) die("client certificate");
        }
        if (o.resume) {
            SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
            SSL_CTX_sess_set_new_cb(x, new_session);
        }
    }
}

/* ---------------------------------------------------------------------- main */
static void parse_options(int argc, char **argv)
{
    enum { HOST = 1, PORT, DIALECT, N, ROOMS, SENDERS, SIZE, RATE, WINDOW, MSGS, SECONDS, CONC,
           SETTLE, STALL, ECHO_, NOJOIN, RESUME, CA, CERT, KEY, NCERT, GROUPS, TLS, CIPHERS, HELLO,
           WELCOME, JOIN, JOINED, CHAT, ROOMP, NICKP, DEAF, PID, LABEL, JSON, CORE,
           BODY, GATE, FIRST_N, CLIENT_CERTS, FIRST_BOT, FIRST_ROOM,
           PING, PONG, REFUSAL };
    static const struct option lo[] = {
        {"host",1,0,HOST},{"port",1,0,PORT},{"dialect",1,0,DIALECT},{"n",1,0,N},{"rooms",1,0,ROOMS},
        {"senders",1,0,SENDERS},{"size",1,0,SIZE},{"rate",1,0,RATE},{"window",1,0,WINDOW},
        {"msgs",1,0,MSGS},{"seconds",1,0,SECONDS},{"conc",1,0,CONC},{"settle",1,0,SETTLE},
        {"stall",1,0,STALL},{"echo",1,0,ECHO_},{"nojoin",0,0,NOJOIN},{"resume",0,0,RESUME},
        {"ca",1,0,CA},{"cert",1,0,CERT},{"key",1,0,KEY},{"ncert",1,0,NCERT},{"groups",1,0,GROUPS},
        {"tls",1,0,TLS},{"ciphers",1,0,CIPHERS},{"hello",1,0,HELLO},{"welcome",1,0,WELCOME},
        {"join",1,0,JOIN},{"joined",1,0,JOINED},{"chat",1,0,CHAT},{"room-prefix",1,0,ROOMP},
        {"nick-prefix",1,0,NICKP},{"pid",1,0,PID},{"label",1,0,LABEL},{"json",0,0,JSON},{"core",1,0,CORE},{"deaf",1,0,DEAF},
        {"body",1,0,BODY},{"gate",0,0,GATE},{"first-n",1,0,FIRST_N},{"client-certs",1,0,CLIENT_CERTS},
        {"first-bot",1,0,FIRST_BOT},{"first-room",1,0,FIRST_ROOM},
        {"ping-substr",1,0,PING},{"pong",1,0,PONG},{"refusal-substr",1,0,REFUSAL},{0,0,0,0}};
    int c;
    while ((c = getopt_long(argc, argv, "", lo, NULL)) != -1) switch (c) {
        case HOST: o.host = optarg; break;
        case PORT: o.port = atoi(optarg); break;
        case DIALECT: o.dialect = *optarg == 'i' ? D_IRC : D_JSON; break;
        case N: o.n = atoi(optarg); break;
        case ROOMS: o.rooms = atoi(optarg); break;
        case SENDERS: o.senders = atoi(optarg); break;
        case SIZE: o.size = atoi(optarg); break;
        case RATE: o.rate = atof(optarg); break;
        case WINDOW: o.window = atoi(optarg); break;
        case MSGS: o.msgs = atoi(optarg); break;
        case SECONDS: o.seconds = atof(optarg); break;
        case CONC: o.conc = atoi(optarg); break;
        case SETTLE: o.settle = atof(optarg); break;
        case STALL: o.stall = atof(optarg); break;
        case ECHO_: o.echo = atoi(optarg); break;
        case NOJOIN: o.nojoin = 1; break;
        case RESUME: o.resume = 1; break;
        case CA: o.ca = optarg; break;
        case CERT: o.cert = optarg; break;
        case KEY: o.key = optarg; break;
        case NCERT: o.ncert = atoi(optarg); break;
        case GROUPS: o.groups = optarg; break;
        case TLS: o.tls = optarg; break;
        case CIPHERS: o.ciphers = optarg; break;
        case HELLO: o.hello = optarg; break;
        case WELCOME: o.welcome = optarg; break;
        case JOIN: o.join = optarg; break;
        case JOINED: o.joined = optarg; break;
        case CHAT: o.chat = optarg; break;
        case ROOMP: o.room_prefix = optarg; break;
        case NICKP: o.nick_prefix = optarg; break;
        case PID: for (char *p = strtok(optarg, ","); p && o.npids < 16; p = strtok(NULL, ",")) o.pids[o.npids++] = atoi(p); break;
        case LABEL: o.label = optarg; break;
        case JSON: o.json_out = 1; break;
        case DEAF: o.deaf = atoi(optarg); break;
        case CORE: o.core = atoi(optarg); break;
        case BODY: o.opaque = *optarg == 'e'; break;
        case GATE: o.gate = 1; break;
        case FIRST_N: o.first_n = strtoull(optarg, NULL, 10); break;
        case CLIENT_CERTS: o.client_certs = optarg; break;
        case FIRST_BOT: o.first_bot = atoi(optarg); break;
        case FIRST_ROOM: o.first_room = atoi(optarg); break;
        case PING: o.ping = optarg; break;
        case PONG: o.pong = optarg; break;
        case REFUSAL: o.refusal = optarg; break;
        default: usage();
    }
    if (o.resume && o.client_certs) {
        /* A session is its certificate's: nobody may resume another's. */
        fprintf(stderr, "loadgen: --resume and --client-certs exclude each other\n");
        exit(2);
    }
    if (o.echo < 0) o.echo = o.dialect != D_IRC;
    if (o.rooms > o.n) o.rooms = o.n;
    if (o.size > 16000) o.size = 16000;
    if (!o.seconds && o.msgs == 1000000000) o.seconds = 10;
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rl.rlim_cur = rl.rlim_max;
    setrlimit(RLIMIT_NOFILE, &rl);

    make_ctx();
    if (o.client_certs) load_identities();
    if (o.opaque) fill_letters();
    ep = epoll_create1(EPOLL_CLOEXEC);
    per_room = o.n / o.rooms;
    if (o.senders > per_room) o.senders = per_room;
    nsend = o.senders * o.rooms;
    /* Cap the bookkeeping: 2 million messages in all or what --msgs says. */
    maxseq = nsend ? 2000000 / nsend : 1;
    if (maxseq > o.msgs) maxseq = o.msgs;
    if (o.seconds && o.rate && o.rate * o.seconds + 2 < maxseq) maxseq = o.rate * o.seconds + 2;
    if (maxseq > 20000) maxseq = 20000;
    if (maxseq < 1) maxseq = 1;
    cs = calloc(o.n, sizeof *cs);
    sender_conn = calloc(nsend + 1, sizeof *sender_conn);
    stack = calloc(nsend + 1, sizeof *stack);
    left = calloc((size_t)(nsend ? nsend : 1) * maxseq, sizeof *left);
    last = malloc(sizeof *last * (size_t)o.n * (o.senders + 1));
    memset(last, 0xff, sizeof *last * (size_t)o.n * (o.senders + 1));
    seen = calloc(o.n, sizeof *seen);
    for (int i = 0; i < o.n; i++) {
        struct conn *c = &cs[i];
        c->idx = i; c->room = i % o.rooms; c->fd = -1;
        c->n = o.first_n - 1;
        int slot = i / o.rooms;
        c->sender = slot < o.senders ? c->room * o.senders + slot : -1;
        if (c->sender >= 0) sender_conn[c->sender] = i;
        seen[i] = calloc(((size_t)o.senders * maxseq + 8) / 8, 1);
    }

    /* -- connect ------------------------------------------------------------ */
    struct usage u0 = server_usage(1);
    double g0 = self_cpu();
    uint64_t progress = now_ns();
    int seen_ready = 0;
    while (n_ready + n_dead < o.n) {
        while (n_open < o.n && n_inprogress < o.conc && !(o.resume && !saved && n_open)) open_conn(&cs[n_open]);
        pump(20000000);
        if (o.gate && !gate_open && n_reg + n_dead >= o.n) open_gate();
        int steps = n_tls + n_reg + n_ready;
        if (steps != seen_ready) { seen_ready = steps; progress = now_ns(); }
        else if (now_ns() - progress > o.stall * 2e9) { fprintf(stderr, "loadgen: only %d of %d ready\n", n_ready, o.n); break; }
        if (n_dead > 50 && n_dead > o.n / 2) break;
    }
    double g1 = self_cpu();
    struct usage u1 = server_usage(0);
    double hs_s = (t_last_tls - t_first_open) / 1e9, reg_s = (t_last_reg - t_first_open) / 1e9,
           ready_s = (t_last_ready - t_first_open) / 1e9;

    /* -- settle, then count idle memory --------------------------------------- */
    for (uint64_t t = now_ns(); now_ns() - t < o.settle * 1e9;) pump(10000000);
    struct usage u2 = server_usage(1);

    /* -- load ----------------------------------------------------------------- */
    int dead0 = n_dead;
    uint64_t t0 = now_ns(), tstop = o.seconds ? t0 + (uint64_t)(o.seconds * 1e9) : UINT64_MAX;
    uint64_t bytes0 = bytes_in, reads0 = reads_in;
    struct cores k0 = cores_now();
    double g2 = self_cpu();
    struct usage u3 = server_usage(0);
    for (int i = o.n - o.deaf; i < o.n; i++) {
        struct epoll_event e = {.events = 0, .data.ptr = &cs[i]};
        if (cs[i].state == C_READY) epoll_ctl(ep, EPOLL_CTL_MOD, cs[i].fd, &e);
    }
    loading = nsend && maxseq && o.msgs > 0 && !o.nojoin && (o.rate > 0 || o.window > 0);
    uint64_t iv = o.rate > 0 ? (uint64_t)(1e9 / o.rate) : 0;
    for (int s = 0; s < nsend && loading; s++) {
        struct conn *c = &cs[sender_conn[s]];
        c->due = t0 + iv * s / nsend;
        if (!iv) push_sender(s);
    }
    uint64_t last_count = 0;
    progress = now_ns();
    while (loading) {
        uint64_t t = now_ns();
        int64_t wait = 50000000;
        if (t >= tstop) { loading = 0; break; }
        if (iv) {
            int done = 1;
            for (int s = 0; s < nsend; s++) {
                struct conn *c = &cs[sender_conn[s]];
                if (c->state != C_READY || c->next >= maxseq) continue;
                done = 0;
                if (c->due <= t) { send_one(c, now_ns()); c->due += iv; }
                int64_t d = c->due > t ? (int64_t)(c->due - t) : 0;
                if (d < wait) wait = d;
            }
            if (done) loading = 0;
        } else {
            /* Each sender fills its window; one message per turn keeps senders
             * mixed the way independent people would be. */
            int more = 1;
            while (more) {
                more = 0;
                int k = nstack;
                for (int i = 0; i < k; i++) {
                    struct conn *c = &cs[sender_conn[stack[i]]];
                    if (c->state == C_READY && c->next < maxseq && c->inflight < o.window) { send_one(c, now_ns()); more = 1; }
                }
            }
            for (int i = 0; i < nstack; i++) cs[sender_conn[stack[i]]].waiting = 0;
            nstack = 0;
            int done = 1;
            for (int s = 0; s < nsend && done; s++) if (cs[sender_conn[s]].next < maxseq && cs[sender_conn[s]].state == C_READY) done = 0;
            if (done) loading = 0;
        }
        pump(wait);
        if (delivered != last_count) { last_count = delivered; progress = now_ns(); }
        else if (!iv && now_ns() - progress > o.stall * 1e9) { fprintf(stderr, "loadgen: stalled\n"); break; }
    }
    loading = 0;
    /* -- drain: until every copy came or nothing has come for a while ---------- */
    uint64_t expect = 0;
    for (int s = 0; s < nsend; s++) {
        struct conn *c = &cs[sender_conn[s]];
        expect += (uint64_t)c->next * (room_members(c->room) - (o.echo ? 0 : 1));
    }
    progress = now_ns(); last_count = delivered;
    while (delivered < expect && now_ns() - progress < o.stall * 1e9) {
        pump(10000000);
        if (delivered != last_count) { last_count = delivered; progress = now_ns(); }
    }
    uint64_t t1 = t_last_delivery > t0 ? t_last_delivery : now_ns();
    struct usage u4 = server_usage(1);
    double g3 = self_cpu();
    struct cores k1 = cores_now();
    double core = k1.busy[o.core] - k0.busy[o.core], softirq = k1.softirq - k0.softirq;
    double secs = (t1 - t0) / 1e9, wall = (now_ns() - t0) / 1e9;
    /* A surplus dups check: anything still arriving within 50 ms. */
    for (uint64_t t = now_ns(); sent && now_ns() - t < 50000000;) pump(10000000);

    double dps = delivered && secs > 0 ? delivered / secs : 0;
    double scpu = u4.cpu - u3.cpu, gcpu = g3 - g2;
    /* Processes are charged with the softirq that interrupts them, so it belongs on
     * both sides.  Kernels with CONFIG_IRQ_TIME_ACCOUNTING do not: there this is too
     * high by `softirq`. */
    double foreign = k1.run - k0.run + softirq - scpu - gcpu;
    long long lost = (long long)(expect - delivered);
    /* Reconnect storm: from the first connect to the last copy, if all came. */
    char storm[128] = "";
    if (o.gate && sent && !lost && n_ready == o.n)
        snprintf(storm, sizeof storm, "\"storm_ms\":%.1f,\"storm_reg_ms\":%.1f,\"storm_join_ms\":%.1f,",
                 (t_last_delivery - t_first_open) / 1e6, reg_s * 1e3, (ready_s - reg_s) * 1e3);
    char js[4096];
    snprintf(js, sizeof js,
        "{\"label\":\"%s\",\"n\":%d,\"rooms\":%d,\"senders\":%d,\"size\":%d,\"rate\":%g,\"window\":%d,"
        "\"ready\":%d,\"dead\":%d,\"resumed\":%d,"
        "\"hs_per_s\":%.1f,\"reg_per_s\":%.1f,\"ready_per_s\":%.1f,\"hs_p50_ms\":%.3f,\"hs_p99_ms\":%.3f,"
        "\"connect_server_cpu\":%.2f,\"connect_gen_cpu\":%.2f,"
        "\"sent\":%llu,\"delivered\":%llu,\"expected\":%llu,\"secs\":%.3f,\"deliveries_per_s\":%.0f,\"msgs_per_s\":%.1f,"
        "\"lat_p50_ms\":%.3f,\"lat_p99_ms\":%.3f,\"lat_max_ms\":%.3f,"
        "%s\"lost\":%lld,\"dup\":%llu,\"ooo\":%llu,\"misrouted\":%llu,\"unknown\":%llu,\"dropped_conns\":%d,\"pongs\":%llu,\"refusals\":%llu,"
        "\"bytes_per_read\":%.0f,\"server_cpu\":%.2f,\"server_core_busy\":%.2f,\"softirq\":%.2f,\"core_us_per_delivery\":%.3f,\"gen_cpu\":%.2f,\"gen_util\":%.2f,\"foreign_cpu\":%.2f,"
        "\"rss0_kb\":%ld,\"rss_idle_kb\":%ld,\"rss_end_kb\":%ld,\"hwm_kb\":%ld,\"pss_idle_kb\":%ld,\"kb_per_conn\":%.2f}",
        o.label, o.n, o.rooms, o.senders, o.size, o.rate, o.window,
        n_ready, n_dead, n_resumed,
        hs_s > 0 ? n_tls / hs_s : 0, reg_s > 0 ? n_reg / reg_s : 0, ready_s > 0 ? n_ready / ready_s : 0,
        hq_ms(&hs_lat, .5), hq_ms(&hs_lat, .99), u1.cpu - u0.cpu, g1 - g0,
        (unsigned long long)sent, (unsigned long long)delivered, (unsigned long long)expect, secs, dps,
        secs > 0 ? sent / secs : 0, hq_ms(&lat, .5), hq_ms(&lat, .99), lat.max / 1e6,
        storm, lost, (unsigned long long)dups, (unsigned long long)ooo, (unsigned long long)misrouted,
        (unsigned long long)unknown, n_dead - dead0, (unsigned long long)pongs, (unsigned long long)refusals,
        reads_in > reads0 ? (double)(bytes_in - bytes0) / (reads_in - reads0) : 0,
        scpu, core, softirq, delivered ? core * 1e6 / delivered : 0, gcpu, wall > 0 ? gcpu / wall : 0,
        foreign, u0.rss, u2.rss, u4.rss, u4.hwm, u2.pss,
        n_ready ? (double)(u2.rss - u0.rss) / n_ready : 0);
    if (o.json_out) { puts(js); return 0; }
    printf("%s: %d connections in %d rooms, %d senders/room, %d bytes\n", o.label, n_ready, o.rooms, o.senders, o.size);
    printf("  connect   %.0f handshakes/s, %.0f registered/s, %.0f ready/s; handshake p50 %.2f p99 %.2f ms; resumed %d\n",
        hs_s > 0 ? n_tls / hs_s : 0, reg_s > 0 ? n_reg / reg_s : 0, ready_s > 0 ? n_ready / ready_s : 0,
        hq_ms(&hs_lat, .5), hq_ms(&hs_lat, .99), n_resumed);
    printf("  memory    idle %.1f MiB (%.1f KiB/connection), end %.1f MiB\n", u2.rss / 1024.0,
        n_ready ? (double)(u2.rss - u0.rss) / n_ready : 0, u4.rss / 1024.0);
    if (sent) {
        printf("  deliver   %.0f/s (%llu of %llu in %.2f s, %.0f messages/s), %.0f bytes/record\n", dps,
            (unsigned long long)delivered, (unsigned long long)expect, secs, sent / secs,
            reads_in > reads0 ? (double)(bytes_in - bytes0) / (reads_in - reads0) : 0);
        printf("  latency   p50 %.3f  p99 %.3f  max %.3f ms\n", hq_ms(&lat, .5), hq_ms(&lat, .99), lat.max / 1e6);
        if (*storm)
            printf("  storm     all registered after %.0f ms, joined %.0f ms later, the line with everyone after %.0f ms in all\n",
                reg_s * 1e3, (ready_s - reg_s) * 1e3, (t_last_delivery - t_first_open) / 1e6);
        printf("  faults    lost %lld  duplicated %llu  out of order %llu  misrouted %llu  unknown %llu  dropped connections %d  refusals %llu\n",
            lost, (unsigned long long)dups, (unsigned long long)ooo, (unsigned long long)misrouted,
            (unsigned long long)unknown, n_dead - dead0, (unsigned long long)refusals);
        printf("  cpu       server %.2f s, its core busy %.2f s of %.2f (%.2f us/delivery)  generator %.2f s (%.0f %%)  softirq %.2f s  other programs %.2f s\n",
            scpu, core, wall, delivered ? core * 1e6 / delivered : 0, gcpu, 100 * gcpu / wall, softirq, foreign);
    }
    return 0;
}
