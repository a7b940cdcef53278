//! What the agent's code calls of the C library's mathematics, in the agent itself.
//!
//! It is one function, in a scheduler of tokio that zbus turns on and that the agent never starts. Taken from the C
//! library, it has the device load all of libm: 0.3 MB of memory and a file more to open at every start.

/// C's `pow`: `base` to the power of `exponent`, with its special cases as in C11, F.10.4.4.
// SAFETY: the name and the signature are those of C's function, and so is what it answers; nothing here has state.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

#[cfg(test)]
mod tests {
    use super::pow;

    #[test]
    fn answers_like_the_c_library() {
        for (base, exponent, power) in [
            (2.0, 10.0, 1024.0),
            (2.0, -1.0, 0.5),
            (-3.0, 3.0, -27.0),
            (f64::NAN, 0.0, 1.0),
            (0.0, -1.0, f64::INFINITY),
            (0.5, f64::INFINITY, 0.0),
        ] {
            assert_eq!(
                pow(base, exponent).to_bits(),
                f64::to_bits(power),
                "{base}^{exponent}"
            );
        }
        assert!((pow(0.9, 3.0) - 0.729).abs() < 1e-15);
        assert!(pow(-1.0, 0.5).is_nan());
    }
}
