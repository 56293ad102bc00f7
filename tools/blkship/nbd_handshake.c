// SPDX-License-Identifier: GPL-2.0-only
#include "nbd_handshake.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../userspace/lib/local_socket.h"

#define MAGIC		"NBDMAGICIHAVEOPT"
#define OPTION_MAGIC	"IHAVEOPT"
#define MAGIC_BYTES	16
#define OPTION_MAGIC_BYTES 8
#define FIXED_NEWSTYLE	(1u << 0)
#define NO_ZEROES	(1u << 1)	/* behind what we are told of the export */
#define OPT_EXPORT_NAME	1
#define PATIENCE_MS	30000	/* without a byte */

struct greeting {
	char magic[MAGIC_BYTES];
	uint16_t flags;
} __attribute__((packed));

struct option {
	uint32_t client_flags;
	char magic[OPTION_MAGIC_BYTES];
	uint32_t option;
	uint32_t name_bytes;
} __attribute__((packed));

struct answer {
	uint64_t size_bytes;
	uint16_t flags;
} __attribute__((packed));

/* Not a byte more: what comes behind is for the kernel. */
static int receive(int fd, void *buf, size_t bytes)
{
	struct pollfd readable = { .fd = fd, .events = POLLIN };
	size_t done = 0;
	ssize_t n;

	while (done < bytes) {
		n = poll(&readable, 1, PATIENCE_MS);
		if (n == 0)
			return -ETIMEDOUT;
		if (n > 0)
			n = recv(fd, (char *)buf + done, bytes - done, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += n;
	}
	return 0;
}

static int ask(int fd, const char *name)
{
	struct option option = {
		.client_flags = htobe32(FIXED_NEWSTYLE | NO_ZEROES),
		.option = htobe32(OPT_EXPORT_NAME),
		.name_bytes = htobe32(strlen(name)),
	};
	struct iovec parts[] = { { &option, sizeof(option) }, { (char *)name, strlen(name) } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n;

	memcpy(option.magic, OPTION_MAGIC, OPTION_MAGIC_BYTES);
	n = sendmsg(fd, &message, MSG_NOSIGNAL);	/* so little is never sent in parts */
	if (n < 0)
		return -errno;
	return (size_t)n == sizeof(option) + strlen(name) ? 0 : -EPROTO;
}

int nbd_shake_hands(int fd, const char *name, struct nbd_export *out)
{
	struct greeting greeting;
	struct answer answer;
	uint16_t both = FIXED_NEWSTYLE | NO_ZEROES;
	int ret = receive(fd, &greeting, sizeof(greeting));

	if (ret < 0)
		return ret;
	if (memcmp(greeting.magic, MAGIC, MAGIC_BYTES) != 0 ||
	    (be16toh(greeting.flags) & both) != both)
		return -EPROTO;
	ret = ask(fd, name);
	if (ret == 0)
		ret = receive(fd, &answer, sizeof(answer));
	if (ret == 0)
		*out = (struct nbd_export){ be64toh(answer.size_bytes), be16toh(answer.flags) };
	return ret;
}

int nbd_handshake(const char *socket_path, const char *name, int *fd, struct nbd_export *out)
{
	int s = local_socket_connect(socket_path, SOCK_STREAM);
	int ret = s < 0 ? s : nbd_shake_hands(s, name, out);

	if (ret == 0)
		*fd = s;
	else if (s >= 0)
		close(s);
	return ret;
}
