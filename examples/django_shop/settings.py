"""The settings of a small Django project with a queue. SHOP_DATA is the folder of its data."""
import os
from pathlib import Path

DATA = Path(os.environ.get('SHOP_DATA', '.')).absolute()

SECRET_KEY = 'of an example, and no secret'
INSTALLED_APPS = ['shop']
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': DATA / 'shop.db',
                         'OPTIONS': {'timeout': 30}}}
DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'
USE_TZ = True

WORQ_URL = f'sqlite:///{DATA}/work.db'   # in production mostly redis://...
