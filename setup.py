"""WorQ's package. The version is read from the text of worq/__init__.py, not imported."""
import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def version() -> str:
    """The value of ``__version__`` in the package; RuntimeError if there is no such line."""
    source = (HERE / 'worq' / '__init__.py').read_text('utf-8')
    found = re.search(r"^__version__\s*=\s*'([^']+)'", source, re.MULTILINE)
    if not found:
        raise RuntimeError("worq/__init__.py has no line __version__ = '...'")
    return found[1]


setup(
    name='WorQ',
    version=version(),
    description='An embeddable task queue with durable futures, in memory or on Redis',
    long_description=(HERE / 'README.rst').read_text('utf-8'),
    long_description_content_type='text/x-rst',
    license='MIT',
    python_requires='>=3.11',
    packages=find_packages(include=['worq', 'worq.*']),
    package_data={'worq': ['py.typed', 'queue/redis/lua/*.lua', 'queue/redis/lua/*/*.lua',
                           'web/static/*', 'web/static/*/*', 'web/static/*/*/*']},
    extras_require={'redis': ['redis>=5', 'hiredis>=2'], 'msgpack': ['msgpack>=1'],
                    'cloudpickle': ['cloudpickle>=3'], 'cli': ['rich>=13'],
                    'prometheus': ['prometheus-client>=0.20'],
                    'web': ['starlette>=0.40', 'uvicorn>=0.30'],
                    'cron': ['cronsim>=2.6', 'tzdata']},
    entry_points={'console_scripts': ['worq = worq.cli.main:main']},
    zip_safe=False,
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3 :: Only',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: System :: Distributed Computing',
        'Typing :: Typed',
    ],
)
