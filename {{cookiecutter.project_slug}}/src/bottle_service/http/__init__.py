"""HTTP: a Bottle application with typed handlers, wrapped in middleware.

The way of a request, from the outside to the handler and back:

    WSGI server
      InstrumentationMiddleware   request ID, default security headers, access log, metrics
        CORSMiddleware            Access-Control-* headers (only if CORS_ORIGINS is set)
          ErrorMiddleware         every exception becomes a response and a log entry
            ProxyHeadersMiddleware    client address and scheme, from trusted proxies
              SanitizeRequestMiddleware   reject or repair what Bottle would misread
                RequestContextMiddleware  one request per thread or greenlet
                  ServiceBottle           routing; 404 and 405
                    BearerAuthPlugin      401; 403 if another site sends a request of a session
                      BodyLimitPlugin     413
                        HandlerPlugin       parse body, form, query; open dependencies
                          your handler      412 by IfMatch
                        HandlerPlugin       the result becomes the JSON response; 304
"""

from .application import build_http_application
from .auth import require_same_origin
from .conditional import IfMatch
from .forms import Form
from .handlers import RequestScoped
from .parsers import Upload
from .problems import Environ, FieldError, Problem

__all__ = [
    "Environ",
    "FieldError",
    "Form",
    "IfMatch",
    "Problem",
    "RequestScoped",
    "Upload",
    "build_http_application",
    "require_same_origin",
]
