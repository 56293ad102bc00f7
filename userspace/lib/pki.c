// SPDX-License-Identifier: GPL-2.0-only
#include "pki.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SKEW_S		300	/* a clock may be behind by this when a certificate is new */
#define SERIAL_BYTES	16

#define DEFINE_CLEANUP(type, fn)			\
	static inline void fn##_cleanup(type **p)	\
	{						\
		fn(*p);					\
	}
DEFINE_CLEANUP(BIO, BIO_free_all)
DEFINE_CLEANUP(EVP_PKEY, EVP_PKEY_free)
DEFINE_CLEANUP(X509, X509_free)
DEFINE_CLEANUP(X509_REQ, X509_REQ_free)
#define _cleanup_(fn) __attribute__((cleanup(fn##_cleanup)))

static int fail(char *why, int ret, const char *what, const char *on)
{
	snprintf(why, PKI_TEXT_BYTES, "%s %.160s: %s", what, on, strerror(-ret));
	return ret;
}

/* What OpenSSL could not do; its reason goes into the sentence. */
static int fail_ssl(char *why, int ret, const char *what, const char *on)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	snprintf(why, PKI_TEXT_BYTES, "%s%s%.120s: %.80s", what, *on ? " " : "", on,
		 reason ? reason : "failed");
	ERR_clear_error();
	return ret;
}

/* -- files -- */

static int sync_parent(const char *path)
{
	char copy[PKI_PATH_BYTES];
	int fd, ret = 0;

	snprintf(copy, sizeof(copy), "%s", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int write_all(int fd, const char *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		bytes -= n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

int pki_write_file(const char *path, const void *data, size_t bytes, char *why)
{
	char tmp[PKI_PATH_BYTES];
	int fd, ret;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.tmp", path) >= sizeof(tmp))
		return fail(why, -ENAMETOOLONG, "write", path);
	unlink(tmp);		/* of a crash */
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fail(why, -errno, "create", tmp);
	ret = write_all(fd, data, bytes);
	close(fd);
	if (ret == 0 && rename(tmp, path) < 0)
		ret = -errno;
	if (ret < 0) {
		unlink(tmp);
		return fail(why, ret, "write", path);
	}
	ret = sync_parent(path);
	return ret < 0 ? fail(why, ret, "sync the directory of", path) : 0;
}

int pki_read_file(const char *path, char *buf, size_t bytes, char *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t done = 0;
	ssize_t n = 0;
	int ret = 0;

	if (fd < 0)
		return fail(why, -errno, "open", path);
	while (done < bytes && (n = read(fd, buf + done, bytes - done)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		done += n > 0 ? n : 0;
	}
	if (n < 0)
		ret = -errno;
	else if (done == bytes)
		ret = -EFBIG;
	close(fd);
	if (ret < 0)
		return fail(why, ret, "read", path);
	buf[done] = 0;
	return 0;
}

static int join(char *path, const char *dir, const char *name, char *why)
{
	if ((size_t)snprintf(path, PKI_PATH_BYTES, "%s/%s", dir, name) >= PKI_PATH_BYTES)
		return fail(why, -ENAMETOOLONG, "path", dir);
	return 0;
}

static int write_bio(const char *path, BIO *bio, char *why)
{
	char *data;
	long bytes = BIO_get_mem_data(bio, &data);

	return pki_write_file(path, data, bytes, why);
}

static int write_key(const char *path, EVP_PKEY *key, char *why)
{
	_cleanup_(BIO_free_all) BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL))
		return fail_ssl(why, -ENOMEM, "encode key", path);
	return write_bio(path, bio, why);
}

static int write_cert(const char *path, X509 *cert, char *why)
{
	_cleanup_(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || !PEM_write_bio_X509(bio, cert))
		return fail_ssl(why, -ENOMEM, "encode certificate", path);
	return write_bio(path, bio, why);
}

static int read_key(const char *path, EVP_PKEY **key, char *why)
{
	_cleanup_(BIO_free_all) BIO *bio = BIO_new_file(path, "r");

	*key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	return *key ? 0 : fail_ssl(why, -EBADMSG, "key", path);
}

static int read_cert(const char *path, X509 **cert, char *why)
{
	_cleanup_(BIO_free_all) BIO *bio = BIO_new_file(path, "r");

	*cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	return *cert ? 0 : fail_ssl(why, -EBADMSG, "certificate", path);
}

/* -- certificates -- */

bool pki_host_valid(const char *host)
{
	size_t len = strlen(host);

	if (len == 0 || len >= PKI_HOST_BYTES || !isalnum((unsigned char)host[0]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)host[i]) && !strchr(".-_", host[i]))
			return false;
	return true;
}

static int set_name(X509_NAME *name, const char *cn, const char *role)
{
	return X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const uint8_t *)"blkship",
					  -1, -1, 0) &&
	       X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC, (const uint8_t *)role,
					  -1, -1, 0) &&
	       X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)cn,
					  -1, -1, 0);
}

static int set_serial(X509 *cert)
{
	uint8_t random[SERIAL_BYTES];
	BIGNUM *number;
	int ok;

	if (RAND_bytes(random, sizeof(random)) != 1)
		return 0;
	random[0] &= 0x7f;	/* positive */
	number = BN_bin2bn(random, sizeof(random), NULL);
	ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
	BN_free(number);
	return ok;
}

static int add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	if (!ext)
		return 0;
	ok = X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

struct cert_params {
	const char *cn;
	const char *role;
	unsigned int days;
	const char *basic;	/* constraints */
	const char *usage;
	const char *extended;	/* NULL: none */
	const char *names;	/* subjectAltName; NULL: none */
};

static const struct cert_params ca_params = {
	.role = "ca", .days = PKI_CA_DAYS, .basic = "critical,CA:TRUE,pathlen:0",
	.usage = "critical,keyCertSign,cRLSign",
};
static const struct cert_params server_params = {
	.role = "target", .days = PKI_SERVER_DAYS, .basic = "critical,CA:FALSE",
	.usage = "critical,digitalSignature", .extended = "serverAuth",
};
static const struct cert_params ship_params = {
	.role = "ship", .days = PKI_SHIP_DAYS, .basic = "critical,CA:FALSE",
	.usage = "critical,digitalSignature", .extended = "clientAuth",
};

static X509 *cert_create(const struct cert_params *p, EVP_PKEY *key, X509 *issuer,
			 EVP_PKEY *issuer_key)
{
	X509 *cert = X509_new();
	X509 *signer = issuer ? issuer : cert;

	if (cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) &&
	    X509_gmtime_adj(X509_getm_notBefore(cert), -SKEW_S) &&
	    X509_time_adj_ex(X509_getm_notAfter(cert), p->days, 0, NULL) &&
	    set_name(X509_get_subject_name(cert), p->cn, p->role) &&
	    X509_set_issuer_name(cert, X509_get_subject_name(signer)) &&
	    X509_set_pubkey(cert, key) &&
	    add_extension(cert, signer, NID_basic_constraints, p->basic) &&
	    add_extension(cert, signer, NID_key_usage, p->usage) &&
	    add_extension(cert, signer, NID_subject_key_identifier, "hash") &&
	    (!issuer || add_extension(cert, signer, NID_authority_key_identifier, "keyid")) &&
	    (!p->extended || add_extension(cert, signer, NID_ext_key_usage, p->extended)) &&
	    (!p->names || add_extension(cert, signer, NID_subject_alt_name, p->names)) &&
	    X509_sign(cert, issuer_key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

/* "DNS:a,IP:1.2.3.4" for the extension; what may not be in a name is refused. */
static int alt_names(const char *const *names, size_t nr, char *out, size_t bytes, char *why)
{
	size_t used = 0;

	for (size_t i = 0; i < nr; i++) {
		uint8_t address[sizeof(struct in6_addr)];
		bool ip = inet_pton(AF_INET, names[i], address) == 1 ||
			  inet_pton(AF_INET6, names[i], address) == 1;

		if (!ip && !pki_host_valid(names[i])) {
			snprintf(why, PKI_TEXT_BYTES,
				 "'%.100s' is neither a host name nor an address", names[i]);
			return -EINVAL;
		}
		used += snprintf(out + used, bytes - used, "%s%s:%s", i ? "," : "",
				 ip ? "IP" : "DNS", names[i]);
		if (used >= bytes) {
			snprintf(why, PKI_TEXT_BYTES, "too many host names");
			return -E2BIG;
		}
	}
	return 0;
}

static int make_server(const char *dir, const struct cert_params *params, X509 *ca,
		       EVP_PKEY *ca_key, char *why)
{
	_cleanup_(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
	_cleanup_(X509_free) X509 *cert = key ? cert_create(params, key, ca, ca_key) : NULL;
	char path[PKI_PATH_BYTES];
	int ret;

	if (!cert)
		return fail_ssl(why, -EINVAL, "make the server's certificate for", params->cn);
	ret = join(path, dir, "server.key", why);
	if (ret == 0)
		ret = write_key(path, key, why);
	if (ret == 0)
		ret = join(path, dir, "server.pem", why);
	return ret < 0 ? ret : write_cert(path, cert, why);
}

int pki_init(const char *dir, const char *host, const char *const *names, size_t nr_names,
	     char *why)
{
	_cleanup_(EVP_PKEY_free) EVP_PKEY *ca_key = EVP_EC_gen("P-256");
	_cleanup_(X509_free) X509 *ca = NULL;
	struct cert_params ca_p = ca_params, server_p = server_params;
	char alt[2048], cn[PKI_HOST_BYTES + 16], path[PKI_PATH_BYTES];
	int ret;

	if (!pki_host_valid(host)) {
		snprintf(why, PKI_TEXT_BYTES, "'%.100s' is not a host name", host);
		return -EINVAL;
	}
	ret = alt_names(names, nr_names, alt, sizeof(alt), why);
	if (ret < 0)
		return ret;
	/* A CN is 64 characters at most; the CA's is only for people to read. */
	snprintf(cn, sizeof(cn), "CA of %.58s", host);
	ca_p.cn = cn;
	server_p.cn = host;
	server_p.names = nr_names ? alt : NULL;
	ca = ca_key ? cert_create(&ca_p, ca_key, NULL, ca_key) : NULL;
	if (!ca)
		return fail_ssl(why, -EINVAL, "make the CA of", host);
	ret = join(path, dir, "ca.key", why);
	if (ret == 0)
		ret = write_key(path, ca_key, why);
	if (ret == 0)
		ret = make_server(dir, &server_p, ca, ca_key, why);
	if (ret == 0)
		ret = join(path, dir, "ca.pem", why);
	return ret < 0 ? ret : write_cert(path, ca, why);
}

/* The request of a peer: hostile until its own signature has been checked. */
static int csr_key(const char *pem, size_t bytes, EVP_PKEY **out, char *why)
{
	_cleanup_(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, bytes);
	_cleanup_(X509_REQ_free) X509_REQ *csr =
		bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	_cleanup_(EVP_PKEY_free) EVP_PKEY *key = csr ? X509_REQ_get_pubkey(csr) : NULL;
	char group[32];
	size_t len;

	if (!key || X509_REQ_verify(csr, key) != 1)
		return fail_ssl(why, -EBADMSG, "the signing request is not valid", "");
	if (!EVP_PKEY_is_a(key, "EC") ||
	    !EVP_PKEY_get_group_name(key, group, sizeof(group), &len) ||
	    strcmp(group, "prime256v1") != 0) {
		snprintf(why, PKI_TEXT_BYTES, "the signing request's key is not EC P-256");
		return -EBADMSG;
	}
	*out = key;
	key = NULL;
	return 0;
}

static uint64_t not_after_s(const X509 *cert)
{
	struct tm tm;

	if (!ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm))
		return 0;
	return timegm(&tm);
}

static int pem_of(X509 *cert, char *out, char *why)
{
	_cleanup_(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long bytes;

	if (!bio || !PEM_write_bio_X509(bio, cert))
		return fail_ssl(why, -ENOMEM, "encode certificate", "");
	bytes = BIO_get_mem_data(bio, &data);
	if (bytes >= PKI_PEM_BYTES)
		return fail(why, -EFBIG, "encode", "certificate");
	memcpy(out, data, bytes);
	out[bytes] = 0;
	return 0;
}

int pki_sign(const char *dir, const char *csr, size_t csr_bytes, const char *host, char *cert,
	     uint64_t *not_after, char *why)
{
	_cleanup_(EVP_PKEY_free) EVP_PKEY *key = NULL, *ca_key = NULL;
	_cleanup_(X509_free) X509 *ca = NULL, *made = NULL;
	struct cert_params params = ship_params;
	char path[PKI_PATH_BYTES];
	int ret = csr_key(csr, csr_bytes, &key, why);

	if (ret == 0)
		ret = join(path, dir, "ca.key", why);
	if (ret == 0)
		ret = read_key(path, &ca_key, why);
	if (ret == 0)
		ret = join(path, dir, "ca.pem", why);
	if (ret == 0)
		ret = read_cert(path, &ca, why);
	if (ret < 0)
		return ret;
	params.cn = host;
	made = cert_create(&params, key, ca, ca_key);
	if (!made)
		return fail_ssl(why, -EINVAL, "sign the certificate of", host);
	ret = pem_of(made, cert, why);
	if (ret == 0)
		*not_after = not_after_s(made);
	return ret;
}

static int fingerprint(X509 *cert, uint8_t sha256[32], char *why)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int bytes;

	if (!X509_digest(cert, EVP_sha256(), digest, &bytes) || bytes != 32)
		return fail_ssl(why, -EINVAL, "fingerprint", "");
	memcpy(sha256, digest, 32);
	return 0;
}

int pki_fingerprint(const char *path, uint8_t sha256[32], char *why)
{
	_cleanup_(X509_free) X509 *cert = NULL;
	int ret = read_cert(path, &cert, why);

	return ret < 0 ? ret : fingerprint(cert, sha256, why);
}

int pki_fingerprint_pem(const char *pem, size_t bytes, uint8_t sha256[32], char *why)
{
	_cleanup_(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, bytes);
	_cleanup_(X509_free) X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	if (!cert)
		return fail_ssl(why, -EBADMSG, "certificate", "");
	return fingerprint(cert, sha256, why);
}

int pki_not_after(const char *path, uint64_t *not_after, char *why)
{
	_cleanup_(X509_free) X509 *cert = NULL;
	int ret = read_cert(path, &cert, why);

	if (ret < 0)
		return ret;
	*not_after = not_after_s(cert);
	return 0;
}

int pki_request(const char *key_path, const char *host, char *csr, char *why)
{
	_cleanup_(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
	_cleanup_(X509_REQ_free) X509_REQ *req = X509_REQ_new();
	_cleanup_(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
	char *data;
	long bytes;

	if (!key || !req || !bio || !X509_REQ_set_version(req, X509_REQ_VERSION_1) ||
	    !set_name(X509_REQ_get_subject_name(req), host, "ship") ||
	    !X509_REQ_set_pubkey(req, key) || !X509_REQ_sign(req, key, EVP_sha256()) ||
	    !PEM_write_bio_X509_REQ(bio, req))
		return fail_ssl(why, -EINVAL, "make a signing request for", host);
	bytes = BIO_get_mem_data(bio, &data);
	if (bytes >= PKI_PEM_BYTES)
		return fail(why, -EFBIG, "make a signing request for", host);
	memcpy(csr, data, bytes);
	csr[bytes] = 0;
	return write_key(key_path, key, why);
}

/* -- tokens -- */

#define BASE64_CHARS	43	/* of 32 bytes, without padding */

static const char base64url[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void base64_put(const uint8_t in[32], char out[BASE64_CHARS + 1])
{
	uint32_t bits = 0;
	int have = 0, at = 0;

	for (int i = 0; i < 32; i++) {
		bits = bits << 8 | in[i];
		for (have += 8; have >= 6; have -= 6)
			out[at++] = base64url[bits >> (have - 6) & 63];
	}
	out[at++] = base64url[bits << (6 - have) & 63];
	out[at] = 0;
}

static bool base64_get(const char *in, uint8_t out[32])
{
	uint32_t bits = 0;
	int have = 0, at = 0;

	for (int i = 0; i < BASE64_CHARS; i++) {
		const char *digit = in[i] ? strchr(base64url, in[i]) : NULL;

		if (!digit)
			return false;
		bits = bits << 6 | (digit - base64url);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[at++] = bits >> have;
		}
	}
	return !(bits & ((1u << have) - 1));	/* one text for one token */
}

void pki_token_format(const struct pki_token *token, char *text)
{
	char secret[BASE64_CHARS + 1], ca[BASE64_CHARS + 1];

	base64_put(token->secret, secret);
	base64_put(token->ca_sha256, ca);
	snprintf(text, PKI_TOKEN_TEXT_BYTES, "blks1.%s.%s.%s", token->id, secret, ca);
}

int pki_token_parse(const char *text, struct pki_token *token, char *why)
{
	const char *at;
	struct pki_token t;

	while (isspace((unsigned char)*text))
		text++;
	if (strncmp(text, "blks1.", 6) != 0) {
		snprintf(why, PKI_TEXT_BYTES, "it does not begin with 'blks1.'");
		return -EINVAL;
	}
	at = text + 6;
	if (strspn(at, "0123456789abcdef") != PKI_TOKEN_ID_CHARS || at[PKI_TOKEN_ID_CHARS] != '.') {
		snprintf(why, PKI_TEXT_BYTES, "its identifier is damaged");
		return -EINVAL;
	}
	memcpy(t.id, at, PKI_TOKEN_ID_CHARS);
	t.id[PKI_TOKEN_ID_CHARS] = 0;
	at += PKI_TOKEN_ID_CHARS + 1;
	if (!base64_get(at, t.secret) || at[BASE64_CHARS] != '.') {
		snprintf(why, PKI_TEXT_BYTES, "its secret is damaged or cut off");
		return -EINVAL;
	}
	at += BASE64_CHARS + 1;
	if (!base64_get(at, t.ca_sha256)) {
		snprintf(why, PKI_TEXT_BYTES, "its fingerprint is damaged or cut off");
		return -EINVAL;
	}
	for (at += BASE64_CHARS; isspace((unsigned char)*at); at++)
		;
	if (*at) {
		snprintf(why, PKI_TEXT_BYTES, "there is more behind it");
		return -EINVAL;
	}
	*token = t;
	return 0;
}
