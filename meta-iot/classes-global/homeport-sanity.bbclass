# Says at parse time what a build with this layer lacks, and what to do about it.
#
# A distro that has "homeport" in DISTRO_FEATURES has chosen this layer's A/B set-up: its system.conf, partitions and
# kernel options. Without the feature the layer offers the agent's recipe and changes nothing.
#
# HOMEPORT_SKIP_SANITY = "1" silences all of it.

# The oldest Rust compiler that builds the agent, as in the repository's Cargo.toml.
HOMEPORT_RUST_VERSION = "1.85"

def homeport_is_older(version, needed):
    parts = lambda text: [int(part) for part in text.rstrip('%').split('.') if part.isdigit()]
    return bool(parts(version)) and parts(version) < parts(needed)

def homeport_rust_problem(d):
    version = d.getVar('RUSTVERSION') or ''
    needed = d.getVar('HOMEPORT_RUST_VERSION')
    if not homeport_is_older(version, needed):
        return ''
    return ('homeport-agent needs Rust %s or newer, and this build has %s. Add the layer meta-lts-mixins, branch '
            'scarthgap/rust, and set RUSTVERSION to the version that it brings: see docs/usage/yocto.md.'
            % (needed, version.rstrip('%')))

def homeport_source_problem(d):
    import os
    source = d.getVar('HOMEPORT_SOURCE')
    if os.path.exists(os.path.join(source, 'agent', 'Cargo.toml')):
        return ''
    return ('HOMEPORT_SOURCE = "%s" holds no source of the agent. The layer builds the agent that it lies beside; where '
            'it was copied out of its repository, set HOMEPORT_SOURCE to a checkout of it.' % source)

def homeport_keyring_problem(d):
    import os
    keyring = d.getVar('RAUC_KEYRING_FILE') or ''
    if not keyring:
        return ('RAUC_KEYRING_FILE is not set, and has no default on purpose: a key that everybody has protects nobody. '
                'Make keys with meta-iot/scripts/make-signing-keys FOLDER, and put into local.conf or your distro the '
                'three lines that it prints.')
    if not os.path.isabs(keyring) or not os.path.exists(keyring):
        return ('RAUC_KEYRING_FILE = "%s" is not the absolute path of a file. It names the certificates of the '
                'authorities whose bundles devices trust (PEM).' % keyring)
    return ''

def homeport_ab_problems(d):
    features = d.getVar('DISTRO_FEATURES').split()
    problems = []
    if 'rauc' not in (d.getVar('BBFILE_COLLECTIONS') or '').split():
        problems.append('The distro feature homeport needs the layer meta-rauc: bitbake-layers add-layer meta-rauc')
    if 'rauc' not in features:
        problems.append('The distro feature homeport needs the distro feature rauc: DISTRO_FEATURES:append = " rauc"')
    if 'systemd' not in features:
        problems.append('homeport-image-ab mounts its data partition with systemd units: INIT_MANAGER = "systemd". '
                        'The agent itself also runs with sysvinit.')
    if not d.getVar('HOMEPORT_BOOTLOADER'):
        problems.append('HOMEPORT_BOOTLOADER is not set for MACHINE "%s". Set it to grub, uboot, barebox, efi or custom, '
                        'as in RAUC\'s system.conf: see docs/usage/new-board.md.' % d.getVar('MACHINE'))
    if not d.getVar('HOMEPORT_DATA_DEVICE'):
        problems.append('HOMEPORT_DATA_DEVICE is empty. A device needs a partition that survives updates, for its '
                        'identity and for RAUC\'s status: see docs/usage/new-board.md.')
    problem = homeport_keyring_problem(d)
    if problem:
        problems.append(problem)
    return problems

addhandler homeport_sanity
homeport_sanity[eventmask] = "bb.event.SanityCheck"
python homeport_sanity() {
    d = e.data
    if d.getVar('HOMEPORT_SKIP_SANITY') == '1':
        return
    problems = [homeport_source_problem(d), homeport_rust_problem(d)]
    if 'homeport' in d.getVar('DISTRO_FEATURES').split():
        problems += homeport_ab_problems(d)
    for problem in problems:
        if problem:
            bb.warn(problem)
}
