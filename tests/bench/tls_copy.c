// SPDX-License-Identifier: GPL-2.0-only
/*
 * tls_copy - the least that shipping bytes safely can cost, to compare with.
 *
 *	tls_copy CA CERT KEY CLIENT-CERT CLIENT-KEY FILE MIB
 *
 * One TLS 1.3 connection over loopback between two processes; the one writes random
 * bytes, the other puts them into FILE, opened O_DIRECT, and syncs it. Prints
 * "copied SECONDS MB_PER_S".
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE_BYTES (1 << 20)

static SSL_CTX *context(const SSL_METHOD *method, const char *ca, const char *cert,
			const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	if (SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1 ||
	    SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		errx(1, "certificates");
	return ctx;
}

static void receive(SSL_CTX *ctx, int fd, const char *path, uint64_t bytes)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	SSL *ssl = SSL_new(ctx);
	char *piece;

	if (file < 0 || posix_memalign((void **)&piece, 4096, PIECE_BYTES))
		err(1, "%s", path);
	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) != 1)
		errx(1, "accept");
	for (uint64_t done = 0; done < bytes;) {
		int have = 0;

		while (have < PIECE_BYTES) {
			int n = SSL_read(ssl, piece + have, PIECE_BYTES - have);

			if (n <= 0)
				errx(1, "read");
			have += n;
		}
		if (pwrite(file, piece, have, done) != have)
			err(1, "%s", path);
		done += have;
	}
	if (fdatasync(file))
		err(1, "%s", path);
	if (SSL_write(ssl, "k", 1) != 1)
		errx(1, "answer");
	SSL_free(ssl);
}

static void send_all(SSL_CTX *ctx, int fd, uint64_t bytes)
{
	char *piece = malloc(PIECE_BYTES), answer;
	struct timespec a, b;
	SSL *ssl = SSL_new(ctx);
	double seconds;

	for (size_t i = 0; i < PIECE_BYTES; i += 256)
		if (getrandom(piece + i, 256, 0) != 256)
			err(1, "random");
	SSL_set_fd(ssl, fd);
	if (SSL_connect(ssl) != 1)
		errx(1, "connect");
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (uint64_t done = 0; done < bytes; done += PIECE_BYTES)
		if (SSL_write(ssl, piece, PIECE_BYTES) != PIECE_BYTES)
			errx(1, "write");
	if (SSL_read(ssl, &answer, 1) != 1)
		errx(1, "answer");
	clock_gettime(CLOCK_MONOTONIC, &b);
	seconds = b.tv_sec - a.tv_sec + (b.tv_nsec - a.tv_nsec) / 1e9;
	printf("copied %.3f %.1f\n", seconds, bytes / seconds / 1e6);
	SSL_free(ssl);
	free(piece);
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd, status;
	uint64_t bytes;
	pid_t child;

	if (argc != 8)
		errx(2, "usage: tls_copy CA CERT KEY CLIENT-CERT CLIENT-KEY FILE MIB");
	bytes = strtoull(argv[7], NULL, 10) << 20;
	if (bind(listener, (struct sockaddr *)&at, length) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&at, &length))
		err(1, "listen");
	child = fork();
	if (child == 0) {
		fd = accept(listener, NULL, NULL);
		receive(context(TLS_server_method(), argv[1], argv[2], argv[3]), fd, argv[6], bytes);
		return 0;
	}
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (child < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)))
		err(1, "connect");
	send_all(context(TLS_client_method(), argv[1], argv[4], argv[5]), fd, bytes);
	return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}
