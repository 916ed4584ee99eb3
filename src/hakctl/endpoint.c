#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "hakctl/commands.h"
#include "hakctl/endpoint.h"

/* One Prometheus needs one of them, and comes every few seconds. */
#define CONNECTIONS 16u
#define IDLE_SECONDS 10u
/* What a connection may take for a request's headers. */
#define CONNECTION_BYTES (16u * 1024)

struct endpoint {
	endpoint_text_fn text;
	void *context;
};

/* ---- What is asked for ---- */

/* The q of a media range, in thousandths: after "; q=". */
static int quality(const char *range, size_t length)
{
	for (const char *c = range; (c = memchr(c, ';', length - (size_t)(c - range)));) {
		c += 1 + strspn(c + 1, " \t");
		if (c < range + length && strncasecmp(c, "q=", 2) == 0)
			return (int)(strtod(c + 2, NULL) * 1000);
	}
	return 1000;
}

/* The q of a media type in an Accept line, 0 where it is not named. Of several
 * versions of a type the best counts. */
static int accepts(const char *accept, const char *type)
{
	size_t n = strlen(type), length;
	int best = 0;

	for (const char *range = accept; *range; range += length + (range[length] == ',')) {
		range += strspn(range, " \t");
		length = strcspn(range, ",");
		if (length < n || strncasecmp(range, type, n) != 0 ||
		    !strchr("; \t,", range[n]))
			continue;
		int q = quality(range, length);
		best = q > best ? q : best;
	}
	return best;
}

/* OpenMetrics is for who names it. */
static enum metrics_format format_for(struct MHD_Connection *connection)
{
	const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
	    MHD_HTTP_HEADER_ACCEPT);

	if (!accept)
		return METRICS_PROMETHEUS;
	int open = accepts(accept, "application/openmetrics-text");
	return open > 0 && open >= accepts(accept, "text/plain") ? METRICS_OPENMETRICS :
	    METRICS_PROMETHEUS;
}

/* ---- What is answered ---- */

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
    const char *type, char *text, size_t length, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response =
	    MHD_create_response_from_buffer(length, text, mode);
	enum MHD_Result result;

	if (!response) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_note(struct MHD_Connection *connection, unsigned status,
    const char *note)
{
	return send_text(connection, status, "text/plain; charset=utf-8", (char *)note,
	    strlen(note), MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result send_metrics(struct MHD_Connection *connection,
    const struct endpoint *endpoint)
{
	enum metrics_format format = format_for(connection);
	size_t length;
	char *text = endpoint->text(endpoint->context, format, &length);

	if (!text)
		return send_note(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
		    "out of memory\n");
	return send_text(connection, MHD_HTTP_OK, metrics_content_type(format), text,
	    length, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
    const char *url, const char *method, const char *version, const char *upload,
    size_t *upload_size, void **request)
{
	static char seen;

	(void)version;
	(void)upload;
	/* First its headers come; what a request uploads is read and forgotten. */
	if (!*request) {
		*request = &seen;
		return MHD_YES;
	}
	if (*upload_size) {
		*upload_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return send_note(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
		    "there is nothing but GET\n");
	if (strcmp(url, "/metrics") == 0)
		return send_metrics(connection, context);
	if (strcmp(url, "/") == 0)
		return send_note(connection, MHD_HTTP_OK, "hakctl export: see /metrics\n");
	return send_note(connection, MHD_HTTP_NOT_FOUND, "there is nothing but /metrics\n");
}

/* ---- The server ---- */

/* ADDRESS:PORT into its parts; they point into text. */
static bool split_address(char *text, const char **host, const char **port)
{
	char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;

	*host = "127.0.0.1";
	*port = colon ? colon + 1 : text;
	if (n > 0) {
		*host = text;
		*colon = '\0';
	}
	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		text[n - 1] = '\0';
		*host = text + 1;
	} else if (n > 0 && strchr(text, ':')) {
		return false; /* ::1:80 might mean anything */
	}
	return **port && strlen(*port) <= 5 &&
	    strspn(*port, "0123456789") == strlen(*port) && atoi(*port) <= 65535;
}

static int find_address(const char *address, struct addrinfo **found)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	const char *host, *port;
	char text[256];

	if (strlen(address) >= sizeof(text) ||
	    !split_address(strcpy(text, address), &host, &port))
		return complain_usage("export", "'%s' is not ADDRESS:PORT", address);
	int error = getaddrinfo(host, port, &hints, found);
	if (error)
		return complain("cannot listen on %s: %s", address, gai_strerror(error));
	return EXIT_FINE;
}

static struct MHD_Daemon *start(const struct addrinfo *at, struct endpoint *endpoint)
{
	unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO |
	    (at->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0);

	return MHD_start_daemon(flags, 0, NULL, NULL, on_request, endpoint,
	    MHD_OPTION_SOCK_ADDR, at->ai_addr,
	    MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
	    MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
	    MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_END);
}

static void say_where(struct MHD_Daemon *daemon, const struct addrinfo *at)
{
	const union MHD_DaemonInfo *info =
	    MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
	char host[64] = "?";
	bool is_6 = at->ai_family == AF_INET6;

	getnameinfo(at->ai_addr, at->ai_addrlen, host, sizeof(host), NULL, 0,
	    NI_NUMERICHOST);
	/* Port 0 is any that is free. */
	printf("http://%s%s%s:%u/metrics\n", is_6 ? "[" : "", host, is_6 ? "]" : "",
	    info ? info->port : 0u);
	fflush(stdout);
}

/* Blocked here and in the server's thread, and waited for. */
static void stop_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, signals, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int endpoint_serve(const char *address, endpoint_text_fn text, void *context)
{
	struct endpoint endpoint = { text, context };
	struct addrinfo *at;
	sigset_t signals;
	int signal_number, code = find_address(address, &at);

	if (code != EXIT_FINE)
		return code;
	stop_signals(&signals);
	errno = 0;
	struct MHD_Daemon *daemon = start(at, &endpoint);
	if (daemon) {
		say_where(daemon, at);
		sigwait(&signals, &signal_number);
		MHD_stop_daemon(daemon);
	} else {
		code = complain("cannot listen on %s: %s", address,
		    errno ? strerror(errno) : "no socket to be had");
	}
	freeaddrinfo(at);
	return code;
}
