//! What comes from Debian's archive, with every library it needs: PgBouncer, HAProxy, and PostgreSQL with PostGIS and
//! pgvector.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, apt, cache, command, command::tell, release::Release};

const PGBOUNCER_TRIXIE: &str = "
    pgbouncer libaudit1 libc6 libcap-ng0 libcap2 libcares2 libcrypt1 libevent-2.1-7t64 libgcc-s1 libpam0g libssl3t64
    libsystemd0 libzstd1 zlib1g";

const PGBOUNCER_BOOKWORM: &str = "
    pgbouncer libaudit1 libc-ares2 libc6 libcap-ng0 libcap2 libevent-2.1-7 libgcc-s1 libgcrypt20 libgpg-error0
    liblz4-1 liblzma5 libpam0g libssl3 libsystemd0 libzstd1";

const HAPROXY_BOOKWORM: &str = "
    haproxy libc6 libcap2 libcrypt1 libgcc-s1 libgcrypt20 libgpg-error0 liblua5.3-0 liblz4-1 liblzma5
    libopentracing-c-wrapper0 libopentracing1 libpcre2-8-0 libssl3 libstdc++6 libsystemd0 libzstd1";

/// Without what only rasters (GDAL), solids (SFCGAL) and the just-in-time compiler (LLVM) need, which is most of it.
const POSTGRES: &str = "
    postgresql-17 postgresql-17-pgvector postgresql-17-postgis-3 postgresql-17-postgis-3-scripts
    libaudit1 libbrotli1 libc6 libcap-ng0 libcap2 libcom-err2 libcurl3t64-gnutls libdeflate0 libffi8 libgcc-s1
    libgeos-c1t64 libgeos3.13.1 libgmp10 libgnutls30t64 libgssapi-krb5-2 libhogweed6t64 libicu76 libidn2-0 libjbig0
    libjpeg62-turbo libjson-c5 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 libldap2 liblerc4 liblz4-1
    liblzma5 libnettle8t64 libnghttp2-14 libnghttp3-9 libngtcp2-16 libngtcp2-crypto-gnutls8 libp11-kit0 libpam0g
    libpq5 libproj25 libprotobuf-c1 libpsl5t64 librtmp1 libsasl2-2 libsharpyuv0 libsqlite3-0 libssh2-1t64 libssl3t64
    libstdc++6 libsystemd0 libtasn1-6 libtiff6 libunistring5 libwebp7 libxml2 libxxhash0 libzstd1 zlib1g";

/// The major that Debian 13 has extensions for.
pub(crate) const MAJOR: u32 = 17;

/// Returns the cached program.
pub(crate) fn pgbouncer(release: Release) -> Result<PathBuf, Error> {
    let (suite, packages) = match release {
        Release::Current => ("trixie", PGBOUNCER_TRIXIE),
        Release::Debian12 => ("bookworm", PGBOUNCER_BOOKWORM),
    };
    let folder = cache::install(&format!("pgbouncer-{suite}"), |folder| {
        tell(&format!("testbed: fetching PgBouncer and its libraries from Debian's {suite}, about 17 MB"));
        apt::unpack(folder, suite, packages)?;
        finish(folder, &apt::write_program(folder, "pgbouncer", "usr/sbin/pgbouncer")?)
    });
    let folder = folder.map_err(|error| Error::Unavailable {
        what: format!("PgBouncer {}", release.wanted()),
        problem: format!("it is not installed, and fetching it from Debian's {suite} failed: {error}"),
        advice: format!("install it, or name the executable in {}", release.variable()),
    })?;
    Ok(folder.join("pgbouncer"))
}

/// Returns the cached program of HAProxy 2.6.
pub(crate) fn haproxy() -> Result<PathBuf, Error> {
    let folder = cache::install("haproxy-bookworm", |folder| {
        tell("testbed: fetching HAProxy and its libraries from Debian's bookworm, about 12 MB");
        apt::unpack(folder, "bookworm", HAPROXY_BOOKWORM)?;
        let program = apt::write_program(folder, "haproxy", "usr/sbin/haproxy")?;
        command::output(Command::new("chmod").args(["-R", "a+rX"]).arg(folder))?;
        let version = command::output(Command::new(&program).arg("-v"))?;
        tell(&format!("testbed: fetched {}", version.lines().next().unwrap_or_default()));
        Ok(())
    });
    let folder = folder.map_err(|error| Error::Unavailable {
        what: "HAProxy".to_owned(),
        problem: format!("it is not installed, and fetching it from Debian's bookworm failed: {error}"),
        advice: "install it, or name the executable in TESTBED_HAPROXY_BIN".to_owned(),
    })?;
    Ok(folder.join("haproxy"))
}

/// Returns the cached folder with `bin/`.
pub(crate) fn postgres() -> Result<PathBuf, Error> {
    let folder = cache::install(&format!("postgres-{MAJOR}-postgis-pgvector-trixie"), |folder| {
        tell(&format!(
            "testbed: fetching PostgreSQL {MAJOR}, PostGIS, pgvector and their libraries from Debian's trixie, about \
             66 MB"
        ));
        apt::unpack(folder, "trixie", POSTGRES)?;
        finish_postgres(folder, &home())
    });
    let folder = folder.map_err(|error| Error::Unavailable {
        what: format!("PostgreSQL {MAJOR} with PostGIS and pgvector"),
        problem: format!("it is not installed, and fetching it from Debian's trixie failed: {error}"),
        advice: format!(
            "install it, or name the folder with `initdb` and `postgres` of one that has both in \
             TESTBED_POSTGRES{MAJOR}_BIN"
        ),
    })?;
    Ok(folder.join("root").join(home()))
}

fn home() -> String {
    format!("usr/lib/postgresql/{MAJOR}")
}

/// What remains to be done where no script of the packages has run.
fn finish_postgres(folder: &Path, home: &str) -> Result<(), Error> {
    let root = folder.join("root");
    // Without this file PostgreSQL does not try to compile; with it, it would fail for want of LLVM.
    let compiler = root.join(home).join("lib/llvmjit.so");
    fs::remove_file(&compiler).map_err(Error::file("remove", &compiler))?;
    cache::remove(&root.join(home).join("lib/bitcode"))?;
    let control = root.join(format!("usr/share/postgresql/{MAJOR}/extension/postgis.control"));
    symlink("postgis-3.control", &control).map_err(Error::file("create", &control))?;
    let (bin, programs) = (root.join(home).join("bin"), root.join(home).join("programs"));
    fs::rename(&bin, &programs).map_err(Error::file("rename", &bin))?;
    fs::create_dir(&bin).map_err(Error::file("create", &bin))?;
    let write = |name: &str| {
        apt::write_program(folder, &format!("root/{home}/bin/{name}"), &format!("{home}/programs/{name}"))
    };
    write("initdb")?;
    finish(folder, &write("postgres")?)
}

fn finish(folder: &Path, program: &Path) -> Result<(), Error> {
    command::output(Command::new("chmod").args(["-R", "a+rX"]).arg(folder))?;
    let version = command::output(Command::new(program).arg("--version"))?;
    tell(&format!("testbed: fetched {}", version.lines().next().unwrap_or_default()));
    Ok(())
}
