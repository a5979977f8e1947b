/*
 * relay passes bytes between clients and one backend, and does nothing else. It
 * knows neither HTTP nor WebSocket: its CPU is the floor under that of a proxy.
 *
 *	relay LISTEN BACKEND WORKERS
 *
 * LISTEN and BACKEND are ADDRESS:PORT, IPv4. Each worker is a process with an
 * epoll instance and a listening socket of its own (SO_REUSEPORT).
 *
 * All sockets are edge-triggered and watched once, for everything. A connection
 * is read while its peer takes what was read: then a write that falls short
 * leaves the rest in the peer's `rest`, and the peer's EPOLLOUT continues.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { events_at_once = 512, buffer_size = 64 << 10 };

/* conn is one connection of a session; its peer is the other one. */
struct conn {
	int fd;
	int ended;         /* the end of its data was read */
	int dead;          /* closed; freed when the round is over */
	struct conn *peer;
	struct conn *next; /* in the list of those to free */
	char *rest;        /* bytes that it did not take yet; NULL: none */
	size_t left, at;   /* how many, and from where in rest */
};

static char buffer[buffer_size];
static struct conn *dead_list;

static void die(struct conn *c)
{
	if (c->dead)
		return;
	c->dead = 1;
	close(c->fd);
	free(c->rest);
	c->next = dead_list;
	dead_list = c;
}

static void end_session(struct conn *c)
{
	die(c->peer);
	die(c);
}

static void free_dead(void)
{
	while (dead_list != NULL) {
		struct conn *c = dead_list;
		dead_list = c->next;
		free(c);
	}
}

/* not_now tells whether the last call failed only because it would have waited. */
static int not_now(void)
{
	return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* keep stores what c did not take. */
static int keep(struct conn *c, const char *b, size_t n)
{
	if ((c->rest = malloc(n)) == NULL)
		return -1;
	memcpy(c->rest, b, n);
	c->left = n;
	c->at = 0;
	return 0;
}

/* flush writes what c did not take before: 1 all of it, 0 not all, -1 c is gone. */
static int flush(struct conn *c)
{
	while (c->left > 0) {
		ssize_t n = send(c->fd, c->rest + c->at, c->left, MSG_NOSIGNAL);
		if (n < 0)
			return not_now() ? 0 : -1;
		c->at += n;
		c->left -= n;
	}
	free(c->rest);
	c->rest = NULL;
	return 1;
}

/*
 * pass reads from src and writes to its peer. A read that does not fill the
 * buffer is the last one: what comes later is another event. With whole the last
 * one finds nothing, or the end.
 */
static int pass(struct conn *src, int whole)
{
	struct conn *dst = src->peer;
	while (!src->ended && dst->rest == NULL) {
		ssize_t n = recv(src->fd, buffer, sizeof buffer, 0);
		if (n < 0)
			return not_now() ? 0 : -1;
		if (n == 0) {
			src->ended = 1;
			shutdown(dst->fd, SHUT_WR);
			return 0;
		}
		ssize_t k = send(dst->fd, buffer, n, MSG_NOSIGNAL);
		if (k < 0) {
			if (!not_now())
				return -1;
			k = 0;
		}
		if (k < n)
			return keep(dst, buffer + k, n - k);
		if (n < (ssize_t)sizeof buffer && !whole)
			return 0;
	}
	return 0;
}

/* serve does what has become possible on c. */
static void serve(struct conn *c, unsigned what)
{
	const unsigned over = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
	if (c->dead)
		return;
	if ((what & (EPOLLIN | over)) && pass(c, (what & over) != 0) < 0) {
		end_session(c);
		return;
	}
	if ((what & EPOLLOUT) && c->rest != NULL) {
		int done = flush(c);
		if (done < 0 || (done > 0 && pass(c->peer, 1) < 0)) {
			end_session(c);
			return;
		}
	}
	if (c->ended && c->peer->ended)
		end_session(c);
}

static struct conn *watch(int epoll, int fd)
{
	static const int on = 1;
	struct conn *c = calloc(1, sizeof *c);
	if (c == NULL)
		err(1, "calloc");
	c->fd = fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		err(1, "epoll_ctl");
	return c;
}

/* begin takes one client and connects to the backend for it. */
static int begin(int epoll, int listener, const struct sockaddr_in *backend)
{
	int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client < 0)
		return -1;
	int out = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (out < 0)
		err(1, "socket");
	if (connect(out, (const struct sockaddr *)backend, sizeof *backend) < 0 && errno != EINPROGRESS) {
		close(client);
		close(out);
		return 0;
	}
	struct conn *a = watch(epoll, client), *b = watch(epoll, out);
	a->peer = b;
	b->peer = a;
	return 0;
}

static void work(const struct sockaddr_in *address, const struct sockaddr_in *backend)
{
	static const int on = 1;
	static struct epoll_event events[events_at_once];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
	if (epoll < 0 || listener < 0)
		err(1, "open");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
	if (bind(listener, (const struct sockaddr *)address, sizeof *address) < 0 || listen(listener, 1024) < 0)
		err(1, "listen");
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e) < 0)
		err(1, "epoll_ctl");
	for (;;) {
		int n = epoll_wait(epoll, events, events_at_once, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr != NULL)
				serve(events[i].data.ptr, events[i].events);
			else
				while (begin(epoll, listener, backend) == 0)
					;
		}
		free_dead();
	}
}

/* parse reads ADDRESS:PORT. */
static struct sockaddr_in parse(char *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	char *colon = strrchr(s, ':');
	if (colon == NULL)
		errx(2, "%s: not ADDRESS:PORT", s);
	*colon = '\0';
	a.sin_port = htons(atoi(colon + 1));
	if (inet_pton(AF_INET, s, &a.sin_addr) != 1)
		errx(2, "%s: not an IPv4 address", s);
	return a;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: relay LISTEN BACKEND WORKERS");
	struct sockaddr_in address = parse(argv[1]), backend = parse(argv[2]);
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	pid_t first = getpid();
	for (int i = 1; i < atoi(argv[3]); i++) {
		pid_t pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM); /* die with the first worker */
			if (getppid() != first)
				return 1; /* it died before that */
			break;
		}
	}
	work(&address, &backend);
}
