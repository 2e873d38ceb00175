#!/bin/sh
# Sets up Autobahn's test suite in a folder of its own. It is written for Python 2.7, which today's
# systems do not have: that comes from Debian 11, unpacked into the folder and not installed.
#
#   setup.sh FOLDER      afterwards FOLDER/wstest runs the suite
#
# Needs: curl, dpkg-deb, python3 with pip, and the network, unless FOLDER is complete already.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
folder=$(pwd)
wanted=$(cat "$here/setup.sh" "$here/debs.sha256" "$here/requirements.txt" | sha256sum)
if [ "$(cat complete 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
rm -rf complete root site boot
mkdir -p debs root site boot

while read -r sum path; do
    file=debs/$(basename "$path")
    if ! echo "$sum  $file" | sha256sum --check --status - 2>/dev/null; then
        curl --silent --show-error --fail --location --retry 3 \
            --output "$file" "http://deb.debian.org/debian/pool/main/$path"
        echo "$sum  $file" | sha256sum --check --quiet -
    fi
    dpkg-deb --extract "$file" root
done <"$here/debs.sha256"

# The last pip that runs on Python 2.7, and what it needs to build packages.
python3 -m pip download --quiet --no-deps --dest boot --only-binary=:all: \
    --python-version 2.7 --implementation py --platform any \
    pip==20.3.4 setuptools==44.1.1 wheel==0.37.1

cat >python <<EOF
#!/bin/sh
export LD_LIBRARY_PATH="$folder/root/usr/lib/x86_64-linux-gnu"
export PYTHONHOME="$folder/root/usr"
export PYTHONPATH="$folder/site"
exec "$folder/root/usr/bin/python2.7" "\$@"
EOF
cat >wstest <<EOF
#!/bin/sh
exec "$folder/python" -c 'import sys; sys.argv[0] = "wstest"; from autobahntestsuite import wstest; wstest.run()' "\$@"
EOF
chmod +x python wstest

install() {
    ./python boot/pip-20.3.4-py2.py3-none-any.whl/pip install --quiet --no-deps \
        --disable-pip-version-check --no-warn-script-location --no-build-isolation --target site "$@" \
        2>&1 | grep -v -e DEPRECATION -e 'already exists' || true
}
install boot/setuptools-*.whl boot/wheel-*.whl
install --requirement "$here/requirements.txt"
# A namespace that is declared in a way which a folder on the path does not know.
touch site/zope/__init__.py
./wstest --help >/dev/null
echo "$wanted" >complete
