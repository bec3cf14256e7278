"""What views call tasks with. It needs no code of the tasks."""
from django.conf import settings

from worq import get_queue

q = get_queue(settings.WORQ_URL, target='shop')
