//! Passwords: hashed with Argon2id, made at random.

use argon2::{
    Algorithm, Argon2, Block, Params, PasswordHash, Version,
    password_hash::{self, Output, Salt, SaltString},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{error::FleetError, random};

/// Memory that is reserved for a check, in bytes. glibc takes pieces larger than 32 MiB from the system and gives them back at once;
/// smaller pieces stay with the thread that used them. Only the part that Argon2 uses becomes real memory.
const CHECK_MEMORY: usize = 33 << 20;

/// A PHC string.
pub(crate) fn hash(password: &str) -> Result<String, FleetError> {
    let hash = || {
        let salt = SaltString::encode_b64(&random::<{ Salt::RECOMMENDED_LENGTH }>())?;
        // Argon2id with the parameters that OWASP recommends, the crate's default.
        let (algorithm, version, params) = (Algorithm::default(), Version::default(), Params::default());
        let output = derive(password, salt.as_salt(), algorithm, version, params.clone())?;
        let hash = PasswordHash {
            algorithm: algorithm.ident(),
            version: Some(version.into()),
            params: (&params).try_into()?,
            salt: Some(salt.as_salt()),
            hash: Some(output),
        };
        Ok(hash.to_string())
    };
    hash().map_err(|error: password_hash::Error| {
        FleetError::Invalid(format!("cannot hash the password: {error}"))
    })
}

pub(crate) fn is_password(password: &str, hash: &str) -> Result<bool, password_hash::Error> {
    let hash = PasswordHash::new(hash)?;
    let (Some(salt), Some(expected)) = (hash.salt, hash.hash) else {
        return Ok(false);
    };
    let algorithm = Algorithm::try_from(hash.algorithm)?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from)?;
    let params = Params::try_from(&hash)?;
    // The comparison of `Output` takes constant time.
    Ok(derive(password, salt, algorithm, version, params)? == expected)
}

fn derive(
    password: &str,
    salt: Salt<'_>,
    algorithm: Algorithm,
    version: Version,
    params: Params,
) -> Result<Output, password_hash::Error> {
    let mut buffer = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut buffer)?;
    let length = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(CHECK_MEMORY / Block::SIZE));
    memory.resize(blocks, Block::default());
    let argon2 = Argon2::new(algorithm, version, params);
    Output::init_with(length, |output| {
        Ok(argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, &mut memory)?)
    })
}

pub(crate) fn random_password() -> String {
    URL_SAFE_NO_PAD.encode(random::<18>())
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher as _, PasswordVerifier as _};

    use super::*;

    #[test]
    fn hashes_are_what_others_make() {
        let ours = hash("correct horse").unwrap();
        let parsed = PasswordHash::new(&ours).unwrap();
        assert!(
            Argon2::default()
                .verify_password(b"correct horse", &parsed)
                .is_ok()
        );
        let salt = SaltString::encode_b64(b"0123456789abcdef").unwrap();
        let theirs = Argon2::default()
            .hash_password(b"correct horse", &salt)
            .unwrap()
            .to_string();
        assert!(is_password("correct horse", &theirs).unwrap());
        assert!(!is_password("correct house", &theirs).unwrap());
        assert!(is_password("x", "no hash").is_err());
    }
}
